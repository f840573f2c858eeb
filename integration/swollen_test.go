package integration_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// swollen is an OTLP request of so many records that share an attribute of so many bytes. Each
// record's event has the attribute: the events are far larger than the body.
func swollen(records, bytes int) sent {
	return sent{path: "/v1/logs", kind: applicationJSON, body: fmt.Sprintf(`{"resourceLogs":[{"resource":{"attributes":[{"key":"k","value":{"stringValue":"%s"}}]},"scopeLogs":[{"logRecords":[%s{}]}]}]}`,
		strings.Repeat("x", bytes), strings.Repeat("{},", records-1))}
}

// TestSwollenRequests: a request whose events do not fit is 413, whatever they come to. It is no
// failure of the disk, at which its sender would try again for ever and others be refused, and the
// events are not made first: the largest here are 100 GB.
func TestSwollenRequests(t *testing.T) {
	const body = 1 << 20
	a := start(t, dataFolder(t))
	for _, s := range []struct {
		records int
		ack     string
	}{{40, "journal"}, {90, "store"}, {100_000, "journal"}, {100_000, "memory"}} {
		request := swollen(s.records, body)
		request.path += "?ack=" + s.ack
		if status, answer, _ := a.send(t, http.MethodPost, request); status != http.StatusRequestEntityTooLarge {
			t.Errorf("%d records at %s: %d %s", s.records, s.ack, status, answer)
		}
	}
	request := swollen(20, body)
	if status, answer, _ := a.send(t, http.MethodPost, request); status != http.StatusOK {
		t.Errorf("20 MiB of events: %d %s", status, answer)
	}
	if text := a.log.String(); strings.Contains(text, "failing") {
		t.Errorf("a large request is taken for a failure of the disk: %s", text)
	}
	if c := a.drained(t); c.Received != 20 {
		t.Errorf("%d events were received, want 20", c.Received)
	}
}

// TestSwollenBulkAnswer: an index that is too long is cut in the answer of every item, refused ones
// too: 100 000 of them come to 1.2 GB else.
func TestSwollenBulkAnswer(t *testing.T) {
	a := start(t, dataFolder(t))
	status, answer, _ := a.send(t, http.MethodPost, sent{path: "/" + strings.Repeat("x", 12_000) + "/_bulk", kind: "application/x-ndjson", body: strings.Repeat(`{"delete":{}}`+"\n", 1000)})
	if status != http.StatusOK || len(answer) > 1000*500 {
		t.Errorf("%d and an answer of %d bytes to 1000 items", status, len(answer))
	}
}
