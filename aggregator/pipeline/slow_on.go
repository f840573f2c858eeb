//go:build sekali_slow

package pipeline

import "time"

// slowed makes the writer five per cent slower: an aggregator built with
// -tags sekali_slow is what the lab's comparison must be able to call worse.
func slowed(took time.Duration) {
	for end := time.Now().Add(took / 20); time.Now().Before(end); {
	}
}
