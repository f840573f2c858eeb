package device

import (
	"os/exec"
	"testing"
	"time"
)

// TestCloseIsBounded: a program that was started meanwhile, and holds standard error, does not hold
// up the end.
func TestCloseIsBounded(t *testing.T) {
	d, _, err := start(exec.Command("sh", "-c", "sleep 20 & read x; exit 0"))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := d.Close(); err == nil || time.Since(began) > 10*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}
