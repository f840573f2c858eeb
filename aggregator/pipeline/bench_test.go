package pipeline

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sekali/aggregator/event"
)

// BenchmarkPipeline is the whole way of an event but for HTTP: decoded, admitted, journaled, and
// committed by the writer, at the aggregator's own bounds. An iteration is 200 requests of 500
// events, one in five a repeat from the whole history, from four publishers, until the last event
// is committed. Give it a count (-benchtime 10x): the store grows with each.
func BenchmarkPipeline(b *testing.B) {
	const requests, publishers = 200, 4
	for _, level := range []Level{Memory, Journal, Store} {
		b.Run(fmt.Sprintf("ack=%s", level), func(b *testing.B) {
			r := newRig(b, Config{QueueEvents: 200_000, QueueBytes: 64 << 20, BacklogBytes: 1 << 30, BatchEvents: 50_000})
			defer r.remove()
			r.start()
			defer r.stop()
			var originals uint64
			events := 0
			for range b.N {
				b.StopTimer()
				bodies := make([][]byte, requests)
				for i := range bodies {
					bodies[i], originals = benchBody(originals)
				}
				b.StartTimer()
				publishAll(b, r.p, level, publishers, bodies)
				r.drain()
				events += requests * benchEvents
			}
			b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(events), "ns/event")
		})
	}
}

const benchEvents = 500

// benchBody is a request behind so many originals: 150 bytes of payload and a random id each.
func benchBody(originals uint64) ([]byte, uint64) {
	random := rand.New(rand.NewPCG(originals, 1))
	padding := strings.Repeat("x", 110)
	body := []byte{'['}
	for i := range benchEvents {
		original := originals
		if random.IntN(5) == 0 && originals > 0 {
			original = random.Uint64N(originals)
		} else {
			originals++
		}
		if i > 0 {
			body = append(body, ',')
		}
		id := rand.New(rand.NewPCG(original, 2))
		body = fmt.Appendf(body, `{"topic":"topic-%d","event_id":"%08x-%04x-4%03x-9%03x-%012x","timestamp":"2026-11-23T06:41:10.123456Z","source":"host-7","payload":{"level":"info","n":%9d,"msg":"%s"}}`,
			original%10, id.Uint32(), id.Uint32N(1<<16), id.Uint32N(1<<12), id.Uint32N(1<<12), id.Uint64N(1<<48), original, padding)
	}
	return append(body, ']'), originals
}

// publishAll decodes and publishes the bodies as handlers do, so many at once.
func publishAll(b *testing.B, p *Pipeline, level Level, publishers int, bodies [][]byte) {
	var next atomic.Int64
	var group sync.WaitGroup
	for range publishers {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(bodies)); i = next.Add(1) - 1 {
				request, err := event.ParseJSON(bodies[i], nil)
				if err == nil {
					_, err = p.Publish(level, request)
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}
