package senders_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/grafana/loki/pkg/push"
	"github.com/klauspost/compress/s2"
)

// TestLokiAgainstOfficialTypes: random pushes, marshaled by Loki's own types, are stored with what
// those types have; the same in JSON is the same events.
func TestLokiAgainstOfficialTypes(t *testing.T) {
	const requests, seed = 100, 11
	tr := newTrial(t, "-ack=store")
	random := rand.New(rand.NewPCG(seed, seed))
	want := map[string]string{} // by the mark in the line
	n := 0
	for range requests {
		var request push.PushRequest
		var inJSON []any
		for range 1 + random.IntN(3) {
			labels := randomLabels(random)
			stream := push.Stream{Labels: labelText(labels)}
			var values []any
			for range 1 + random.IntN(4) {
				e := push.Entry{Timestamp: time.Unix(0, random.Int64N(4e18)).UTC(), Line: mark(n) + randomText(random)}
				n++
				metadata := map[string]string{}
				for i := range random.IntN(3) {
					name, value := fmt.Sprint("m", i), randomText(random)
					e.StructuredMetadata = append(e.StructuredMetadata, push.LabelAdapter{Name: name, Value: value})
					metadata[name] = value
				}
				stream.Entries = append(stream.Entries, e)
				values = append(values, []any{strconv.FormatInt(e.Timestamp.UnixNano(), 10), e.Line, metadata})
				want[number.FindString(e.Line)] = lokiExpected(t, labels, e, metadata)
			}
			request.Streams = append(request.Streams, stream)
			inJSON = append(inJSON, map[string]any{"stream": labels, "values": values})
		}
		wire, err := request.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(map[string]any{"streams": inJSON})
		if err != nil {
			t.Fatal(err)
		}
		postLoki(t, tr, "application/x-protobuf", s2.EncodeSnappy(nil, wire))
		postLoki(t, tr, "application/json", text)
	}
	if c := tr.waitStored(n); c.Unique != n || c.Duplicates != n {
		t.Errorf("%+v, want %d stored, and as many repeats: the encodings differ in identity", c, n)
	}
	compareLoki(t, tr, want)
}

func postLoki(t *testing.T, tr *trial, kind string, body []byte) {
	t.Helper()
	answer, err := http.Post(tr.p.URL+"/loki/api/v1/push", kind, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusNoContent {
		t.Fatalf("%s: %s", kind, answer.Status)
	}
}

// lokiExpected is topic, source, time and payload of an entry, as text.
func lokiExpected(t *testing.T, labels map[string]string, e push.Entry, metadata map[string]string) string {
	t.Helper()
	topic := "loki"
	if job := labels["job"]; job != "" {
		topic = job
	}
	payload := map[string]any{"labels": labels, "line": e.Line}
	if len(metadata) > 0 {
		payload["metadata"] = metadata
	}
	text, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %q %s %s", topic, labels["host"], e.Timestamp.Format(time.RFC3339Nano), text)
}

func compareLoki(t *testing.T, tr *trial, want map[string]string) {
	t.Helper()
	seen := 0
	for d := json.NewDecoder(bytes.NewReader(tr.export())); d.More(); seen++ {
		var e struct {
			Topic     string    `json:"topic"`
			Source    string    `json:"source"`
			Timestamp time.Time `json:"timestamp"`
			Payload   any       `json:"payload"`
		}
		if err := d.Decode(&e); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(e.Payload)
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%s %q %s %s", e.Topic, e.Source, e.Timestamp.Format(time.RFC3339Nano), text)
		if w := want[number.FindString(string(text))]; got != w {
			t.Errorf("got\n%s\nwant\n%s", got, w)
		}
	}
	if seen != len(want) {
		t.Errorf("%d events, want %d", seen, len(want))
	}
}

func randomLabels(random *rand.Rand) map[string]string {
	labels := map[string]string{"k": randomText(random)}
	if random.IntN(2) == 0 {
		labels["job"] = "job-" + strconv.Itoa(random.IntN(3))
	}
	if random.IntN(2) == 0 {
		labels["host"] = "host-" + strconv.Itoa(random.IntN(3))
	}
	return labels
}

// labelText is a label set as Prometheus writes it, and so every client of Loki.
func labelText(labels map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, name+"="+strconv.Quote(labels[name]))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
