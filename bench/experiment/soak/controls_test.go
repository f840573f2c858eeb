package soak

import (
	"context"
	"os"
	"testing"
	"time"
)

// TestControls: a sync takes time, hashing takes CPU, and both are counted once.
func TestControls(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 3*controlPause)
	defer cancel()
	var c controls
	if err := c.run(ctx, dir); err != nil {
		t.Fatal(err)
	}
	if sync, work, refaults := c.take(); sync <= 0 || work <= 0 || work > float64(time.Second.Milliseconds()) || refaults < 0 {
		t.Errorf("%v ms a sync, %v ms of work, %v pages read again a second", sync, work, refaults)
	}
	if sync, work, _ := c.take(); sync != 0 || work != 0 {
		t.Errorf("%v and %v ms are there again", sync, work)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v is left: %v", left, err)
	}
	if err := new(controls).run(t.Context(), dir+"/absent"); err == nil {
		t.Error("no error for a folder that is not there")
	}
}
