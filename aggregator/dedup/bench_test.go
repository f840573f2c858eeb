package dedup

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// benchBatch is the writer's largest batch, which is what it takes under load.
const benchBatch = 50_000

// BenchmarkDecide is what deduplication costs an event once so many keys are stored, the writing of
// runs and the merges beside it included: an iteration decides on a batch and takes it over.
// Repeats are drawn from the whole history.
func BenchmarkDecide(b *testing.B) {
	for _, keys := range []int{1_000_000, 10_000_000} {
		for _, ids := range []string{"uuid4", "uuid7"} {
			h := newHistory(b, ids, keys)
			for _, duplicates := range []int{0, 20, 90} {
				h.held = 0
				b.Run(fmt.Sprintf("keys=%d/ids=%s/duplicates=%.1f", keys, ids, float64(duplicates)/100), func(b *testing.B) {
					for range b.N {
						b.StopTimer()
						batch := h.batch(duplicates)
						b.StartTimer()
						h.apply(b, batch)
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchBatch), "ns/event")
					b.ReportMetric(1000*h.held.Seconds(), "max-stall-ms")
				})
			}
			if err := h.index.Close(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkGrow is what deduplication costs an event while the store grows from nothing: an
// iteration is a batch of new keys. Give it a count of them: with 400x, 20 million keys, the last
// of the merges is one of 16 million.
func BenchmarkGrow(b *testing.B) {
	b.ReportAllocs()
	h := newHistory(b, "uuid4", 0)
	for range b.N {
		b.StopTimer()
		batch := h.batch(0)
		b.StartTimer()
		h.apply(b, batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchBatch), "ns/event")
	b.ReportMetric(1000*h.held.Seconds(), "max-stall-ms")
	if err := h.index.Close(); err != nil {
		b.Fatal(err)
	}
}

// history is an index and how many keys it has been given: the n-th is a function of n.
type history struct {
	index *Index
	asked *Batch
	id    func(n int) string
	keys  int
	last  int64
	isNew []bool
	held  time.Duration // the longest that a batch was held up
	draw  *rand.Rand
}

func newHistory(b *testing.B, ids string, keys int) *history {
	none := func(_, _ int64, _ func(int64, string, string, Content) error) error { return nil }
	x, err := Open(Config{Dir: b.TempDir(), Secret: make([]byte, SecretBytes), Events: none})
	if err != nil {
		b.Fatal(err)
	}
	h := &history{index: x, asked: x.NewBatch(), id: uuid4, draw: rand.New(rand.NewPCG(1, 2))}
	if ids == "uuid7" {
		h.id = uuid7
	}
	for h.keys < keys {
		h.apply(b, h.batch(0))
	}
	// What the filling has left to write and to merge is not of the measurement.
	for !h.idle() {
		time.Sleep(10 * time.Millisecond)
		h.apply(b, nil)
	}
	return h
}

// idle says that the worker has nothing to do.
func (h *history) idle() bool {
	x := h.index
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, r := range x.runs {
		if r.merging {
			return false
		}
	}
	for level := range x.levels() {
		if x.neighbours(level) != nil {
			return false
		}
	}
	return x.unwritten == 0 && len(x.finished) == 0
}

// batch are the next ids, of which so many percent repeat earlier ones.
func (h *history) batch(duplicates int) []string {
	ids := make([]string, benchBatch)
	for i := range ids {
		if n := h.keys; n > 0 && h.draw.IntN(100) < duplicates {
			ids[i] = h.id(h.draw.IntN(n))
			continue
		}
		ids[i] = h.id(h.keys)
		h.keys++
	}
	return ids
}

func (h *history) apply(b *testing.B, ids []string) {
	x, first := h.index, h.last+1
	h.asked.Reset()
	for _, id := range ids {
		h.asked.Add("topic", id, 1)
	}
	seqs, err := x.Decide(h.asked, first)
	if err != nil {
		b.Fatal(err)
	}
	h.isNew = h.isNew[:0]
	for i, seq := range seqs {
		h.isNew = append(h.isNew, seq == first+int64(i))
	}
	h.last += int64(len(ids))
	h.held = max(h.held, x.Committed(h.isNew, h.last, x.Changes()))
}

// uuid4 is the n-th random id.
func uuid4(n int) string {
	random := rand.NewPCG(uint64(n), 4)
	return uuidText(random.Uint64()&^0xf000|0x4000, random.Uint64())
}

// uuid7 is the n-th id in time order, ten a millisecond.
func uuid7(n int) string {
	const began = 1_767_225_600_000
	random := rand.NewPCG(uint64(n), 7)
	return uuidText((began+uint64(n)/10)<<16|0x7000|uint64(n)%10<<8, random.Uint64())
}

func uuidText(high, low uint64) string {
	raw := binary.BigEndian.AppendUint64(nil, high)
	raw = binary.BigEndian.AppendUint64(raw, low&^(3<<62)|2<<62)
	var text []byte
	for i, b := range raw {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			text = append(text, '-')
		}
		text = hex.AppendEncode(text, []byte{b})
	}
	return string(text)
}
