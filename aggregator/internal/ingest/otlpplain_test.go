package ingest_test

import (
	"bytes"
	"testing"

	"sekali/aggregator/internal/ingest"
)

// TestPlainWire: requests in JSON that are written as protobuf in one pass come to what they come
// to by encoding/json; and those that senders send are.
func TestPlainWire(t *testing.T) {
	const requests = 5000
	plain := map[bool]int{}
	for n := range requests {
		calm := n%2 == 0
		body := newOdd(uint64(n), calm).otlpJSONBody()
		got, ok := ingest.PlainWire(body)
		if !ok {
			continue
		}
		plain[calm]++
		if want, err := ingest.JSONWire(body); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s\nis\n%x\nby encoding/json\n%x, %v", body, got, want, err)
		}
	}
	if plain[true] != requests/2 || plain[false] == 0 {
		t.Errorf("of %d as senders send them %d are read in one pass, of %d odd ones %d", requests/2, plain[true], requests/2, plain[false])
	}
}
