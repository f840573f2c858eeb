package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestPersistGivesUp: a disk that fails is tried for about four minutes, and then the process ends
// with the reason. A full one is waited for: each time that there is no room counts for nothing.
func TestPersistGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Pipeline{log: slog.New(slog.DiscardHandler)}
		broken := errors.New("input/output error")
		began, attempts := time.Now(), 0
		err := p.persist(t.Context(), "journal", func() error {
			attempts++
			if attempts <= diskAttempts {
				return fmt.Errorf("write: %w", syscall.ENOSPC)
			}
			return broken
		})
		if !errors.Is(err, broken) || !strings.Contains(err.Error(), "journal: given up after 120 attempts") || attempts != 2*diskAttempts {
			t.Errorf("after %d attempts: %v", attempts, err)
		}
		if took := time.Since(began); took < 7*time.Minute || took > 8*time.Minute {
			t.Errorf("given up after %v, want about four minutes for want of room and four for the error", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := p.persist(ctx, "store", func() error { return syscall.ENOSPC }); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("out of time: %v", err)
		}
	})
}
