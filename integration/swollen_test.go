package integration_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
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

// TestBulkAnswersAreBounded: answers to bulk requests that are not read are counted among the
// pages. Beyond their bound the next request is 503, and nothing of it is taken, until their
// connections end. One whose answer alone would be too large is 413.
func TestBulkAnswersAreBounded(t *testing.T) {
	a := start(t, dataFolder(t))
	const items, some = 50_000, 10 // an answer of 20 MB each, so that some of them are more than 128 MiB
	index := strings.Repeat("x", 255)
	bodyOf := func(n int) string {
		return fmt.Sprintf("{\"create\":{\"_id\":\"%d\"}}\n{}\n", n) + strings.Repeat("{\"delete\":{}}\n", items)
	}
	var unread []net.Conn
	defer func() {
		for _, c := range unread {
			c.Close()
		}
	}()
	for refused := false; !refused; {
		c, err := net.Dial("tcp", a.Addr)
		if err != nil {
			t.Fatal(err)
		}
		unread = append(unread, c)
		if err := c.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
		body := bodyOf(len(unread))
		head := make([]byte, len("HTTP/1.1 200"))
		_, err = fmt.Fprintf(c, "POST /%s/_bulk HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", index, len(body), body)
		if err == nil {
			_, err = io.ReadFull(c, head)
		}
		switch {
		case err != nil:
			t.Fatal(err)
		case string(head) == "HTTP/1.1 503":
			refused = true
		case string(head) != "HTTP/1.1 200":
			t.Fatalf("%s", head)
		case len(unread) == some:
			t.Fatalf("%d answers to %d items each are not read, and the next one is made", some, items)
		}
	}
	taken := len(unread) - 1
	if c := a.drained(t); c.Received != taken || taken < 2 {
		t.Errorf("%d requests were answered, and %d events received", taken, c.Received)
	}
	for _, c := range unread {
		c.Close()
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		status, text, _ := a.send(t, http.MethodPost, sent{path: "/" + index + "/_bulk", body: bodyOf(some)})
		if status == http.StatusOK && strings.Count(text, index) == items+1 {
			break
		}
		if status != http.StatusServiceUnavailable || !strings.Contains(text, `"type":"busy"`) || time.Now().After(end) {
			t.Fatalf("once nobody waits for an answer: %d %.300s", status, text)
		}
	}
	quotes := strings.Repeat("%22", 255)
	alone := sent{path: "/" + quotes + "/_bulk?ack=store&id=" + quotes, body: strings.Repeat("{\"create\":{}}\n{}\n", 100_000)}
	if status, text, _ := a.send(t, http.MethodPost, alone); status != http.StatusRequestEntityTooLarge || !strings.Contains(text, "the answer would take") {
		t.Errorf("an answer that is too large: %d %.300s", status, text)
	}
	if c := a.drained(t); c.Received != taken+1 {
		t.Errorf("%d events received, want %d", c.Received, taken+1)
	}
}
