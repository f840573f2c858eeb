package main

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"sekali/aggregator/dedup"
	"sekali/loadgen/stream"
)

// keysStored is how many events the index has been asked for before the clock runs.
var keysStored = flag.Int("keys", 0, "events that are decided on before the clock runs")

// keysBatch is the writer's largest batch, which is what it takes under load.
const keysBatch = 50_000

// keyIndex says which events of a batch are new, and remembers them.
type keyIndex interface {
	decide(events []stream.Event) (fresh int, err error)
	close() error
}

// BenchmarkKeyIndex gives two indexes of keys the same stream, a fifth of it repeats from the whole
// history. An iteration is a batch. Neither syncs a log of its own: the events that the keys are
// made from are durable, and both could be made again from them.
func BenchmarkKeyIndex(b *testing.B) {
	for name, open := range map[string]func(dir string) (keyIndex, error){"index=runs": openRunsIndex, "index=pebble": openPebbleIndex} {
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			index, err := open(dir)
			if err != nil {
				b.Fatal(err)
			}
			source, err := stream.New(stream.Config{Seed: 1, Duplicates: 0.2})
			if err != nil {
				b.Fatal(err)
			}
			next := uint64(0)
			step := func() {
				b.StopTimer()
				events := make([]stream.Event, keysBatch)
				for i := range events {
					events[i] = source.Event(source.Original(next + uint64(i)))
				}
				want := int(source.Originals(next+keysBatch) - source.Originals(next))
				next += keysBatch
				b.StartTimer()
				fresh, err := index.decide(events)
				if err != nil {
					b.Fatal(err)
				}
				if fresh != want {
					b.Fatalf("%d events are new, %d were found", want, fresh)
				}
			}
			for next < uint64(*keysStored) {
				step()
			}
			b.ResetTimer()
			for range b.N {
				step()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*keysBatch), "ns/event")
			b.StopTimer()
			if err := index.close(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(sizeOf(b, dir))/float64(source.Originals(next)), "disk-bytes/key")
		})
	}
}

func sizeOf(b *testing.B, dir string) (total int64) {
	err := filepath.WalkDir(dir, func(_ string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return total
}

// runsIndex is Sekali's own.
type runsIndex struct {
	index *dedup.Index
	batch *dedup.Batch
	last  int64
	isNew []bool
}

func openRunsIndex(dir string) (keyIndex, error) {
	none := func(_, _ int64, _ func(int64, string, string, dedup.Content) error) error { return nil }
	index, err := dedup.Open(dedup.Config{Dir: dir, Secret: make([]byte, dedup.SecretBytes), Events: none})
	if err != nil {
		return nil, err
	}
	return &runsIndex{index: index, batch: index.NewBatch()}, nil
}

func (x *runsIndex) decide(events []stream.Event) (fresh int, err error) {
	first := x.last + 1
	x.batch.Reset()
	for i := range events {
		x.batch.Add(events[i].Topic, events[i].EventID, 1)
	}
	seqs, err := x.index.Decide(x.batch, first)
	if err != nil {
		return 0, err
	}
	x.isNew = x.isNew[:0]
	for i, seq := range seqs {
		is := seq == first+int64(i)
		if is {
			fresh++
		}
		x.isNew = append(x.isNew, is)
	}
	x.last += int64(len(events))
	x.index.Committed(x.isNew, x.last, x.index.Changes())
	return fresh, nil
}

func (x *runsIndex) close() error { return x.index.Close() }

// pebbleIndex keeps topic and id as the key and seq with a checksum as the value, as the runs do.
// The batch is sorted, which Pebble likes as the runs do; the filter has the runs' bits a key.
type pebbleIndex struct {
	db    *pebble.DB
	cache *pebble.Cache
	text  []byte
	keys  []pebbleKey
}

type pebbleKey struct{ begin, end, at int }

// quiet keeps Pebble's log out of the lines that benchstat reads.
type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(string, ...any)          {}
func (quiet) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

func openPebbleIndex(dir string) (keyIndex, error) {
	cache := pebble.NewCache(64 << 20)
	options := &pebble.Options{Cache: cache, MemTableSize: 64 << 20, DisableWAL: true, Logger: quiet{}}
	for i := range options.Levels {
		options.Levels[i].FilterPolicy = bloom.FilterPolicy(12)
	}
	db, err := pebble.Open(dir, options)
	return &pebbleIndex{db: db, cache: cache}, err
}

func (x *pebbleIndex) decide(events []stream.Event) (fresh int, err error) {
	x.text, x.keys = x.text[:0], x.keys[:0]
	for i := range events {
		begin := len(x.text)
		x.text = append(append(append(x.text, events[i].Topic...), 0), events[i].EventID...)
		x.keys = append(x.keys, pebbleKey{begin, len(x.text), i})
	}
	key := func(k pebbleKey) []byte { return x.text[k.begin:k.end] }
	slices.SortFunc(x.keys, func(a, b pebbleKey) int {
		return cmp.Or(bytes.Compare(key(a), key(b)), cmp.Compare(a.at, b.at))
	})
	batch := x.db.NewBatch()
	value := make([]byte, 12)
	for i, k := range x.keys {
		if i > 0 && bytes.Equal(key(k), key(x.keys[i-1])) {
			continue
		}
		_, closer, err := x.db.Get(key(k))
		if err == nil {
			err = closer.Close()
		} else if errors.Is(err, pebble.ErrNotFound) {
			fresh++
			err = batch.Set(key(k), value, nil)
		}
		if err != nil {
			return 0, errors.Join(err, batch.Close())
		}
	}
	return fresh, errors.Join(batch.Commit(pebble.NoSync), batch.Close())
}

func (x *pebbleIndex) close() error {
	err := errors.Join(x.db.Flush(), x.db.Close())
	x.cache.Unref()
	return err
}
