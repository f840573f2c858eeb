package integration_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFolderIsGone: a data folder that is removed, replaced or unmounted while it runs is noticed:
// no event is acknowledged that nobody would find, the aggregator is not ready, and after a while
// it ends with exit code 1. What lies in its place is left as it is.
func TestFolderIsGone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, data string)
	}{
		{"removed", func(t *testing.T, data string) {
			if err := os.RemoveAll(data); err != nil {
				t.Fatal(err)
			}
		}},
		{"replaced", func(t *testing.T, data string) {
			if err := os.Rename(data, data+"-old"); err != nil {
				t.Fatal(err)
			}
			copied := exec.Command("cp", "-a", data+"-old", data)
			if out, err := copied.CombinedOutput(); err != nil {
				t.Fatal(string(out), err)
			}
		}},
		{"unmounted", func(t *testing.T, data string) {
			if out, err := exec.Command("umount", "-l", filepath.Dir(data)).CombinedOutput(); err != nil {
				t.Fatal(string(out), err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			data := dataFolder(t)
			if c.name == "unmounted" {
				data = filepath.Join(tmpfsOf(t, 64<<20), "data")
			}
			a := startUnready(t, data)
			for _, ack := range []string{"journal", "store"} {
				a.mustPublish(t, []byte(oneEvent("before-"+ack)), ack)
			}
			a.drained(t)
			c.spoil(t, data)
			left := listing(t, data)
			for i, ack := range []string{"store", "journal", "store", "journal"} {
				status, text, err := a.publish([]byte(oneEvent(fmt.Sprint("gone-", i))), ack)
				if err == nil && (status != http.StatusServiceUnavailable || !strings.Contains(text, "disk_failing")) {
					t.Errorf("at %s: %d %s", ack, status, text)
				}
			}
			time.Sleep(500 * time.Millisecond)
			if a.ready() {
				t.Error("it is ready")
			}
			if status, _, err := a.publish([]byte(oneEvent("gone")), "memory"); err == nil && status != http.StatusServiceUnavailable {
				t.Errorf("at memory: %d", status)
			}
			ctx, cancel := context.WithTimeout(t.Context(), readyTimeout)
			defer cancel()
			select {
			case <-a.Exited():
			case <-ctx.Done():
				t.Fatal("it still runs")
			}
			if _, err := a.Stop(ctx); err == nil || !strings.Contains(err.Error(), "exit code 1") {
				t.Errorf("how it ended: %v", err)
			}
			if now := listing(t, data); now != left {
				t.Errorf("what lay in its place has changed:\n%s\n%s", left, now)
			}
		})
	}
}

// listing is the names and sizes of a folder's files.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil {
			fmt.Fprintln(&b, path, info.Size())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
