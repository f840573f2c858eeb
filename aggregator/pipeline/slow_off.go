//go:build !sekali_slow

package pipeline

import "time"

// slowed does nothing here; see slow_on.go.
func slowed(time.Duration) {}
