package cluster

import (
	"log/slog"
	"sync"
	"time"
)

// outageEvery is how often an outage is logged that goes on.
const outageEvery = time.Minute

// outage logs when the log is not read: once when that begins, once a minute, and once when it
// ends.
type outage struct {
	logger *slog.Logger

	mu   sync.Mutex // guards all below
	on   bool
	said time.Time
}

// failed notes that the log could not be read.
func (o *outage) failed(position uint64, err error, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.on || now.Sub(o.said) >= outageEvery {
		o.logger.Warn("the log is not read", "position", position, "error", err)
		o.said = now
	}
	o.on = true
}

// over notes that the log is read.
func (o *outage) over() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.on {
		o.logger.Info("the log is read again")
	}
	o.on = false
}
