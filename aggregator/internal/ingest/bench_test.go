package ingest_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"

	"sekali/aggregator/event"
	"sekali/aggregator/internal/ingest"
)

// benchEvents is how many records a request of the benchmarks has.
const benchEvents = 500

// BenchmarkMappers sets each protocol beside /publish with the same records: nanoseconds an event.
func BenchmarkMappers(b *testing.B) {
	var logs, entries []byte
	var otlp, otlpJSON, ndjson, bulk, noIDs, plain, splunk, cloud, loki, journal strings.Builder
	for n := range benchEvents {
		text, at := fmt.Sprintf("GET /orders/%d 200 12ms from till-%d", n, n%7), uint64(1764295200000000000+n)
		otlp.WriteString(otlpRecord("shop", text, at, "http.method", "GET"))
		logs = append(logs, otlpLog(text, at, "http.method", "GET")...)
		fmt.Fprintf(&otlpJSON, `{"timeUnixNano":"%d","body":{"stringValue":%q},"attributes":[{"key":"http.method","value":{"stringValue":"GET"}}]},`, at, text)
		fmt.Fprintf(&ndjson, `{"topic":"shop","event_id":"0f9c1b7a-3d52-4c1e-9a70-%012d","timestamp":"2026-11-28T03:00:00.%09dZ",`+
			`"payload":{"resource":{"service.name":"shop"},"body":%q,"attributes":{"http.method":"GET"}}}`+"\n", n, n, text)
		fmt.Fprintf(&bulk, "{\"create\":{\"_index\":\"shop\",\"_id\":\"%d\"}}\n{\"@timestamp\":\"2026-11-28T03:00:00Z\",\"message\":%q}\n", n, text)
		fmt.Fprintf(&noIDs, "{\"create\":{\"_index\":\"shop\"}}\n{\"message\":%q,\"@timestamp\":\"2026-11-28T03:00:00Z\"}\n", text)
		fmt.Fprintf(&plain, "{\"message\":%q}\n", text)
		fmt.Fprintf(&splunk, `{"time":1764295200.%03d,"host":"h","index":"shop","event":%q}`, n, text)
		fmt.Fprintf(&cloud, `{"specversion":"1.0","id":"%d","source":"/till/3","type":"shop","time":"2026-11-28T03:00:00Z","data":{"message":%q}},`, n, text)
		fmt.Fprintf(&loki, `["%d",%q],`, at, text)
		entry := append(otlpField(1, append(wireVarint(1, at/1e9), wireVarint(2, at%1e9)...)), otlpField(2, []byte(text))...)
		entries = append(entries, otlpField(2, entry)...)
		fmt.Fprintf(&journal, "__CURSOR=s=1;i=%d\n__REALTIME_TIMESTAMP=%d\n_HOSTNAME=h\nSYSLOG_IDENTIFIER=shop\nPRIORITY=6\n_PID=7\nMESSAGE=%s\n\n", n, at/1000, text)
	}
	listed := func(s *strings.Builder) string { return strings.TrimSuffix(s.String(), ",") }
	push := s2.EncodeSnappy(nil, otlpField(1, append(otlpField(1, []byte(`{job="shop", host="h"}`)), entries...)))
	asBulk := func(in *ingest.Input) (r *event.Request, err error) { r, _, err = ingest.Bulk(in, ""); return r, err }
	for _, of := range []struct {
		name, body string
		do         mapper
	}{
		{"publish-ndjson", ndjson.String(), func(in *ingest.Input) (*event.Request, error) { return event.ParseNDJSON(in.Body, nil) }},
		{"otlp-protobuf", otlpRequest("shop", logs), ingest.OTLP},
		{"otlp-resource-each", otlp.String(), ingest.OTLP}, // no SDK and no Collector sends so
		{"otlp-json", `{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeLogs":[{"logRecords":[` + listed(&otlpJSON) + `]}]}]}`, ingest.OTLPJSON},
		{"bulk", bulk.String(), asBulk},
		{"bulk-without-ids", noIDs.String(), asBulk},
		{"ingest", plain.String(), func(in *ingest.Input) (*event.Request, error) { return ingest.JSON(in, "shop") }},
		{"splunk", splunk.String(), ingest.Splunk},
		{"cloudevents", "[" + listed(&cloud) + "]", ingest.CloudEvents},
		{"loki", `{"streams":[{"stream":{"job":"shop","host":"h"},"values":[` + listed(&loki) + `]}]}`, ingest.Loki},
		{"loki-protobuf", string(push), func(in *ingest.Input) (*event.Request, error) { return ingest.LokiProto(in, 1<<20) }},
		{"journald", journal.String(), func(in *ingest.Input) (*event.Request, error) {
			r, err := ingest.NewUpload(in, strings.NewReader(string(in.Body))).Piece()
			if err == io.EOF {
				err = nil
			}
			return r, err
		}},
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
