package pipeline

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sekali/aggregator/store"
)

// TestRetryDiskGivesUp: a disk that fails is tried for about four minutes, and then the process
// ends with the reason. A full one is waited for: each time that there is no room counts for
// nothing. The log has the number of every attempt, for whatever reason it has failed.
func TestRetryDiskGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines bytes.Buffer
		p := &Pipeline{log: slog.New(slog.NewTextHandler(&lines, nil))}
		broken := errors.New("input/output error")
		began, attempts := time.Now(), 0
		err := p.retryDisk(t.Context(), "journal", func() error {
			attempts++
			if attempts <= diskAttempts {
				return fmt.Errorf("write: %w", syscall.ENOSPC)
			}
			return broken
		})
		if !errors.Is(err, broken) || !strings.Contains(err.Error(), "journal: given up after 240 attempts") || attempts != 2*diskAttempts {
			t.Errorf("after %d attempts: %v", attempts, err)
		}
		for n := 1; n < attempts; n++ {
			line, err := lines.ReadString('\n')
			if want := fmt.Sprintf(`msg="journal still failing" attempt=%d error=`, n); err != nil || !strings.Contains(line, want) {
				t.Fatalf("the log has %q, %v, want %s", line, err, want)
			}
		}
		if took := time.Since(began); took < 7*time.Minute || took > 8*time.Minute {
			t.Errorf("given up after %v, want about four minutes for want of room and four for the error", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := p.retryDisk(ctx, "store", func() error { return syscall.ENOSPC }); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("out of time: %v", err)
		}
		lines.Reset()
		full := 3
		if err := p.retryDisk(t.Context(), "store", func() error {
			if full--; full >= 0 {
				return syscall.ENOSPC
			}
			return nil
		}); err != nil || !strings.Contains(lines.String(), `msg="store works again" attempts=4`) {
			t.Errorf("%v, and the log has %s", err, lines.String())
		}
	})
}

// TestRecoverStoreComparesTheState: whatever has failed, the store is gone on with if it has the
// writer's state or the one that was tried, and not if somebody else has written to it.
func TestRecoverStoreComparesTheState(t *testing.T) {
	for name, test := range map[string]struct {
		found, tried int64 // commits beyond the writer's
		again        int   // how often it is tried again
		foreign      bool
	}{
		"nothing happened":         {0, 0, 1, false},
		"the transaction did not":  {0, 1, 1, false},
		"the transaction happened": {1, 1, 0, false},
		"a commit of another":      {1, 0, 0, true},
		"two commits":              {2, 1, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, roomy)
			defer r.remove()
			r.open()
			defer func() {
				if err := errors.Join(r.s.Close(), r.j.Close()); err != nil {
					t.Error(err)
				}
			}()
			w := newWriter(r.p)
			if db, err := sql.Open("sqlite", filepath.Join(r.dir, store.File)); err != nil {
				t.Fatal(err)
			} else if _, err := db.Exec("UPDATE state SET commits = commits + ?", test.found); err != nil {
				t.Fatal(err)
			} else if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*retryFirst)
			defer cancel()
			tried, again := w.state, 0
			tried.Commits += test.tried
			failed := errors.New("input/output error")
			state, err := w.recoverStore(ctx, "store", failed, tried, func() (store.State, error) { again++; return tried, nil })
			const foreign = "another process writes to it"
			if test.foreign {
				if err == nil || !strings.Contains(err.Error(), foreign) || r.p.Counters().Failing == nil {
					t.Errorf("%v, want that %s, and that nothing is taken", err, foreign)
				}
				if err := w.checkpointFailed(ctx, failed); err == nil || !strings.Contains(err.Error(), foreign) {
					t.Errorf("a checkpoint: %v, want that %s", err, foreign)
				}
			} else if err != nil || state != tried || r.p.Counters().Failing != nil {
				t.Errorf("%+v, %v, want %+v", state, err, tried)
			}
			if again != test.again {
				t.Errorf("tried again %d times, want %d", again, test.again)
			}
		})
	}
}
