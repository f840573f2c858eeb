//go:build !linux

package attack

import "time"

// sleep sleeps, and is up to a millisecond late.
func sleep(d time.Duration) { time.Sleep(d) }
