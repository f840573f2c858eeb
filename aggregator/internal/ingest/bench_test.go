package ingest_test

import (
	"fmt"
	"strings"
	"testing"

	"sekali/aggregator/event"
	"sekali/aggregator/internal/ingest"
)

// benchEvents is how many records a request of the benchmarks has.
const benchEvents = 500

// BenchmarkMappers sets each protocol beside /publish with the same records: nanoseconds an event.
func BenchmarkMappers(b *testing.B) {
	var logs []byte
	var otlp, ndjson, bulk, plain strings.Builder
	for n := range benchEvents {
		text := fmt.Sprintf("GET /orders/%d 200 12ms from till-%d", n, n%7)
		otlp.WriteString(otlpRecord("shop", text, uint64(1764295200000000000+n), "http.method", "GET"))
		logs = append(logs, otlpLog(text, uint64(1764295200000000000+n), "http.method", "GET")...)
		fmt.Fprintf(&ndjson, `{"topic":"shop","event_id":"0f9c1b7a-3d52-4c1e-9a70-%012d","timestamp":"2026-11-28T03:00:00.%09dZ",`+
			`"payload":{"resource":{"service.name":"shop"},"body":%q,"attributes":{"http.method":"GET"}}}`+"\n", n, n, text)
		fmt.Fprintf(&bulk, "{\"create\":{\"_index\":\"shop\",\"_id\":\"%d\"}}\n{\"@timestamp\":\"2026-11-28T03:00:00Z\",\"message\":%q}\n", n, text)
		fmt.Fprintf(&plain, "{\"message\":%q}\n", text)
	}
	for _, of := range []struct {
		name, body string
		do         func(in *ingest.Input) (*event.Request, error)
	}{
		{"publish-ndjson", ndjson.String(), func(in *ingest.Input) (*event.Request, error) { return event.ParseNDJSON(in.Body) }},
		{"otlp-protobuf", otlpRequest("shop", logs), ingest.OTLP},
		{"otlp-resource-each", otlp.String(), ingest.OTLP}, // no SDK and no Collector sends so
		{"bulk", bulk.String(), func(in *ingest.Input) (r *event.Request, err error) { r, _, err = ingest.Bulk(in, ""); return r, err }},
		{"ingest", plain.String(), func(in *ingest.Input) (*event.Request, error) { return ingest.JSON(in, "shop") }},
	} {
		b.Run(of.name, func(b *testing.B) {
			for b.Loop() {
				r, err := of.do(input(of.body))
				if err != nil || r.Events != benchEvents {
					b.Fatal(r.Events, err)
				}
				event.Recycle(r.Data)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchEvents, "ns/event")
		})
	}
}
