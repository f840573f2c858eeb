package client_test

import (
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"sekali/client"
)

// TestNewID: the form of a UUIDv7, the time of now, and each greater than the one before.
func TestNewID(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	const each = 20_000
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		seen = map[string]bool{}
	)
	for range 4 {
		all.Go(func() {
			last := ""
			for range each {
				id := client.NewID()
				if !form.MatchString(id) || id <= last {
					t.Errorf("%s after %s", id, last)
					return
				}
				last = id
				mu.Lock()
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(seen) != 4*each {
		t.Errorf("%d different ids of %d", len(seen), 4*each)
	}
}

// TestNewIDTime: the first 48 bits are milliseconds since 1970.
func TestNewIDTime(t *testing.T) {
	time.Sleep(100 * time.Millisecond) // the ids of the test before may have run ahead of the clock
	before := time.Now().UnixMilli()
	id := client.NewID()
	after := time.Now().UnixMilli()
	ms, err := strconv.ParseInt(id[:8]+id[9:13], 16, 64)
	if err != nil || ms < before || ms > after+1 {
		t.Errorf("%d, not from %d to %d", ms, before, after)
	}
}
