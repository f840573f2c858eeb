package api

import (
	"testing"
	"time"
)

func TestExportRestsWhileEventsWait(t *testing.T) {
	for _, test := range []struct {
		queue      int64
		took, want time.Duration
	}{{restQueue, time.Second, 0}, {restQueue + 1, 5 * time.Millisecond, restShare * 5 * time.Millisecond}, {1 << 40, time.Minute, restMost}} {
		if got := rest(test.queue, test.took); got != test.want {
			t.Errorf("%d events wait, a page took %s: rests %s, want %s", test.queue, test.took, got, test.want)
		}
	}
}
