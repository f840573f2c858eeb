package pipeline

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
)

// TestUnknownRoomIsLoggedOnce: a data folder that was moved away is asked several times a second.
func TestUnknownRoomIsLoggedOnce(t *testing.T) {
	r := newRig(t, Config{QueueEvents: 10, QueueBytes: 1 << 20, BacklogBytes: 1 << 20, BatchEvents: 10})
	defer r.remove()
	r.open()
	defer func() { _ = errors.Join(r.s.Close(), r.j.Close()) }()
	var lines bytes.Buffer
	r.p.log = slog.New(slog.NewTextHandler(&lines, nil))
	away := r.dir + "-away"
	for outages := 1; outages <= 2; outages++ {
		if err := os.Rename(r.dir, away); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			r.p.askFree()
		}
		if err := os.Rename(away, r.dir); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			r.p.askFree()
		}
		began, ended := strings.Count(lines.String(), "is not known"), strings.Count(lines.String(), "is known again")
		if began != outages || ended != outages {
			t.Errorf("%d outages: %d lines that one began, and %d that it ended:\n%s", outages, began, ended, lines.String())
		}
	}
}
