package integration_test

import (
	"net"
	"strings"
	"testing"
)

// TestTakenAddresses: the flag whose address another has is named.
func TestTakenAddresses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, flag := range []string{"-listen", "-admin", "-metrics"} {
		a, err := launch(t, binary, dataFolder(t), flag+"="+taken.Addr().String())
		if err == nil {
			a.stop(t)
		}
		if err == nil || !strings.Contains(err.Error(), flag+": listen tcp "+taken.Addr().String()) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}
