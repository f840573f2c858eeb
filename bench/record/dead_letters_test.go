package record_test

import (
	"testing"

	"sekali/bench/record"
)

// A dead letter has left the queue through a commit: were it not counted, every run with one would
// be INVALID.
func TestDeadLettersAreCommitted(t *testing.T) {
	s := record.Sample{Received: 10, UniqueProcessed: 5, DuplicateDropped: 2, Failed: 3}
	if s.Received != s.Committed()+s.QueueDepth {
		t.Errorf("%d committed of %d", s.Committed(), s.Received)
	}
}
