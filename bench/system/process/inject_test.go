package process

import (
	"os/exec"
	"testing"
	"time"
)

// TestReleaseIsBounded: a strace that does not heed SIGINT is killed.
func TestReleaseIsBounded(t *testing.T) {
	deaf := exec.Command("sh", "-c", "trap '' INT; echo deaf; exec sleep 20")
	output, err := deaf.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := deaf.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := output.Read(make([]byte, 5)); err != nil { // it is deaf now
		t.Fatal(err)
	}
	began := time.Now()
	if (&Injection{deaf}).release(100 * time.Millisecond); time.Since(began) > 10*time.Second {
		t.Errorf("released after %v", time.Since(began))
	}
}
