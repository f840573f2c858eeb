package integration_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// publishLarge stores n events of 2 MiB, more than a page has.
func publishLarge(t *testing.T, a *aggregator, n int) {
	t.Helper()
	payload := strings.Repeat("x", 2<<20)
	for i := range n {
		a.mustPublish(t, []byte(oneEvent(fmt.Sprint("large-", i), `,"payload":"`+payload+`"`)), "store")
	}
}

// TestPagesAreBoundedByBytes: a page ends with the event that takes it to 1 MiB, and says that
// there is more; all of the pages, and the export, have every event once.
func TestPagesAreBoundedByBytes(t *testing.T) {
	for _, layout := range []string{"blocks", "rows"} {
		t.Run(layout, func(t *testing.T) {
			a := start(t, dataFolder(t), "-layout", layout)
			publishLarge(t, a, 3)
			small := make([]string, 200)
			for i := range small {
				small[i] = oneEvent(fmt.Sprint("small-", i))
			}
			a.mustPublish(t, []byte("["+strings.Join(small, ",")+"]"), "store")
			var sizes []int
			seen := map[string]bool{}
			for after := int64(0); ; {
				body, err := a.get(fmt.Sprintf("/events?limit=1000&after=%d", after), "application/json")
				if err != nil {
					t.Fatal(err)
				}
				var page struct {
					Events []struct {
						ID string `json:"event_id"`
					}
					Next *int64 `json:"next_after"`
				}
				if err := json.Unmarshal(body, &page); err != nil {
					t.Fatal(err)
				}
				for _, e := range page.Events {
					seen[e.ID] = true
				}
				sizes = append(sizes, len(page.Events))
				if page.Next == nil {
					break
				}
				after = *page.Next
			}
			if fmt.Sprint(sizes) != "[1 1 1 200]" || len(seen) != 203 {
				t.Errorf("pages of %v events, %d distinct; want 1 1 1 200", sizes, len(seen))
			}
			if n := bytes.Count(a.export(t), []byte("\n")); n != 203 {
				t.Errorf("the export has %d events, want 203", n)
			}
		})
	}
}

// TestSlowReadersPinLittle: readers that ask for large pages, exports and streams and take nothing
// of them hold no more memory than their bound, and no snapshot of the store; a reader beside them
// is served or told to come again.
func TestSlowReadersPinLittle(t *testing.T) {
	const (
		readers = 300
		// 128 MiB of pages, one of 2 MiB in the hands of each of 8 connections to the store (twice, while
		// it grows), and what the process itself has; the collector lets the heap grow to twice of what
		// is used.
		mostRSS = 2 * (128 + 8*4 + 128) << 20
	)
	a := start(t, dataFolder(t))
	publishLarge(t, a, 3)
	requests := []string{
		get("/events"),
		strings.Replace(get("/events"), "Host: x\r\n", "Host: x\r\nAccept: application/x-ndjson\r\n", 1),
		strings.Replace(get("/events/stream"), "Host: x\r\n", "Host: x\r\nLast-Event-ID: 0\r\n", 1),
	}
	for i := range readers {
		conn, err := net.Dial("tcp", a.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, requests[i%len(requests)])
	}
	time.Sleep(time.Second)
	request, _ := http.NewRequest(http.MethodGet, a.URL+"/events?limit=1", nil)
	answer, err := a.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
	if answer.StatusCode != 200 && (answer.StatusCode != 503 || answer.Header.Get("Retry-After") == "") {
		t.Errorf("a reader beside them got %s", answer.Status)
	}
	a.mustPublish(t, []byte(oneEvent("beside")), "store")
	usage, err := a.Usage()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("peak RSS %d MiB of %d beside %d slow readers; a reader got %s", usage.RSSMaxBytes>>20, mostRSS>>20, readers, answer.Status)
	if usage.RSSMaxBytes > mostRSS {
		t.Errorf("peak RSS %d MiB, want %d at most", usage.RSSMaxBytes>>20, mostRSS>>20)
	}
}

// TestSlowPublishersPinLittle: the answer to a small body may name 100 000 refused events.
// Publishers who do not read theirs hold no more memory than slow readers of pages, and nothing is
// stored of what is refused for want of room; a publisher of usual requests is served beside them,
// and all of them once they are gone.
func TestSlowPublishersPinLittle(t *testing.T) {
	const (
		publishers = 300
		events     = 100_000            // the most of a request
		mostRSS    = (128 + 1024) << 20 // 128 MiB of answers, and where the collector holds the heap
		// freedFor is how long the server may take to see that they are gone, once it is done with what
		// it has of them. That takes as long as they did: where the machine is busy, half a minute.
		freedFor = 5 * time.Second
	)
	a := start(t, dataFolder(t))
	headers := jsonType + "Content-Encoding: gzip\r\n"
	zeros := gzipped("[" + strings.Repeat("0,", events-1) + "0]")
	requests := []string{
		post(headers, zeros),
		post(headers, gzipped("["+strings.Repeat(`{"`+strings.Repeat("<", 79)+`":0},`, events-1)+"0]")),
		strings.Replace(post(headers, gzipped("["+oneEvent("large")+strings.Repeat(",0", events-1)+"]")), "/publish", "/publish?ack=store&results=true", 1),
	}
	status := map[string]int{}
	var conns []net.Conn
	began := time.Now()
	for i := range publishers {
		conn, err := net.Dial("tcp", a.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := errors.Join(conn.(*net.TCPConn).SetReadBuffer(4<<10), conn.SetDeadline(time.Now().Add(requestTimeout))); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		if _, err := io.WriteString(conn, requests[i%len(requests)]); err != nil {
			t.Fatal(err)
		}
	}
	for _, conn := range conns {
		line := make([]byte, len("HTTP/1.1 200")) // and no more
		if _, err := io.ReadFull(conn, line); err != nil {
			line = []byte("cut off")
		}
		status[string(line[len(line)-3:])]++
	}
	took := time.Since(began)
	usage, err := a.Usage()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("answered %v in %v; peak RSS %d MiB of %d", status, took, usage.RSSMaxBytes>>20, mostRSS>>20)
	if usage.RSSMaxBytes > mostRSS {
		t.Errorf("peak RSS %d MiB, want %d at most", usage.RSSMaxBytes>>20, mostRSS>>20)
	}
	if status["422"] == 0 || status["503"] == 0 {
		t.Errorf("answered %v, want some 422 and the others 503", status)
	}
	if code, body := send(t, a.Addr, post(jsonType, "["+oneEvent("beside")+",0]")); code != 202 {
		t.Errorf("beside them: %d %s", code, body)
	}
	for _, conn := range conns {
		conn.Close()
	}
	for end := time.Now().Add(freedFor + 2*took); ; time.Sleep(samplePeriod) {
		code, body := send(t, a.Addr, requests[0])
		if code == 422 && bytes.Contains(body, []byte(`{"index":99999,"code":"invalid_type"`)) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("after them: %d %.200s", code, body)
		}
	}
	a.stop(t)
}
