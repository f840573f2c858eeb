package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sekali/client"
)

// TestDeadLetters lets the database refuse an event, as an operator's trigger may: its neighbours
// are stored, it is listed with the reason, and the counters add up, also after a restart.
func TestDeadLetters(t *testing.T) {
	for raise, reason := range map[string]string{"RAISE(ABORT, 'no bad events')": "no bad events", "RAISE(IGNORE)": "ignored"} {
		t.Run(raise, func(t *testing.T) { deadLetters(t, raise, reason) })
	}
}

func deadLetters(t *testing.T, raise, reason string) {
	data := dataFolder(t)
	a := start(t, data)
	a.store(t, "good", "0")
	change(t, data, "CREATE TRIGGER refuse BEFORE INSERT ON topic_blocks WHEN NEW.topic = 'bad' BEGIN SELECT "+raise+"; END")
	body := `[{"topic":"good","event_id":"1","timestamp":"2026-11-23T06:41:10Z"},
		{"topic":"bad","event_id":"1","timestamp":"2026-11-23T06:41:10Z","payload":{"n": 1}},
		{"topic":"good","event_id":"1","timestamp":"2026-11-23T06:41:10Z"}]`
	answer, err := a.client.Post(a.URL+"/publish?ack=store&results=true", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var said struct {
		Stored, Duplicates, Failed int
		Results                    []struct{ Status string }
	}
	if err := json.NewDecoder(answer.Body).Decode(&said); err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK || said.Stored != 1 || said.Duplicates != 1 || said.Failed != 1 ||
		len(said.Results) != 3 || said.Results[1].Status != "failed" || said.Results[2].Status != "duplicate" {
		t.Errorf("%d %+v", answer.StatusCode, said)
	}
	a.mustPublish(t, []byte(body), "journal")
	a.drained(t)
	a.kill()
	a = start(t, data)
	if c := a.drained(t); c.Received != 7 || c.Unique != 2 || c.Duplicates != 3 || c.Failed != 2 {
		t.Errorf("%+v", c)
	}
	page, err := a.get("/dead-letters?limit=10", "application/json")
	if err != nil {
		t.Fatal(err)
	}
	var letters struct {
		DeadLetters []struct {
			Topic    string
			Payload  string
			Attempts int
			Error    string
		} `json:"dead_letters"`
		NextAfter *int `json:"next_after"`
	}
	if err := json.Unmarshal(page, &letters); err != nil || len(letters.DeadLetters) != 1 || letters.NextAfter != nil {
		t.Fatalf("%v: %s", err, page)
	}
	if l := letters.DeadLetters[0]; l.Topic != "bad" || l.Payload != `{"n": 1}` || l.Attempts != 2 || !strings.Contains(l.Error, reason) {
		t.Errorf("%+v", l)
	}
	a.stop(t)
	if code, out := tool(t, "check", "-data", data); code != 0 || !strings.Contains(out, "2 failed") {
		t.Errorf("check: exit %d: %s", code, out)
	}
}

// TestClientHearsOfDeadLetters: the package client at the store level is told which event the
// database refused, and holds up none of its neighbours.
func TestClientHearsOfDeadLetters(t *testing.T) {
	data := dataFolder(t)
	a := start(t, data)
	change(t, data, "CREATE TRIGGER refuse BEFORE INSERT ON topic_blocks WHEN NEW.topic = 'bad' BEGIN SELECT RAISE(ABORT, 'no bad events'); END")
	var failed []string
	c, err := client.New(a.URL, client.Options{
		Ack: client.AckStore, BatchEvents: 3, Linger: requestTimeout,
		Failed: func(e client.Event, err error) { failed = append(failed, fmt.Sprint(e.Topic, " ", e.ID, ": ", err)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
	defer cancel()
	for _, topic := range []string{"good", "bad", "good", "good"} {
		if err := c.Publish(ctx, client.Event{Topic: topic, ID: "1"}); err != nil {
			t.Fatal(err)
		}
	}
	var refused *client.RejectedError
	if err := c.Close(ctx); !errors.Is(err, client.ErrFailed) || errors.Is(err, client.ErrUnsent) || !errors.As(err, &refused) || refused.Code != "failed" {
		t.Errorf("Close: %v", err)
	}
	if len(failed) != 1 || !strings.HasPrefix(failed[0], "bad 1: ") {
		t.Errorf("failed %q", failed)
	}
	// The batch of three came twice.
	if counts := a.drained(t); counts.Received != 7 || counts.Unique != 1 || counts.Duplicates != 4 || counts.Failed != 2 {
		t.Errorf("%+v", counts)
	}
	a.stop(t)
}

// TestDeadLettersAreBoundedByBytes: a page of them ends with the one that takes it to 1 MiB, and
// says that there is more; all pages have each once. Readers that take nothing of theirs do not pin
// more of them than of other pages.
func TestDeadLettersAreBoundedByBytes(t *testing.T) {
	t.Parallel()
	const (
		large   = 3   // of 8 MiB each, which is more than the kernel takes of an answer
		small   = 150 // more than a page has
		readers = 100 // of 8 MiB each, of which 128 MiB have room for 16
	)
	data := dataFolder(t)
	a := start(t, data)
	change(t, data, "CREATE TRIGGER refuse BEFORE INSERT ON topic_blocks WHEN NEW.topic = 't' BEGIN SELECT RAISE(ABORT, 'no events'); END")
	for i := range large {
		a.mustPublish(t, []byte(oneEvent(fmt.Sprint("large-", i), `,"payload":"`+strings.Repeat("x", 8<<20)+`"`)), "store")
	}
	var events []string
	for i := range small {
		events = append(events, oneEvent(fmt.Sprint("small-", i), `,"payload":"<small>"`))
	}
	a.mustPublish(t, []byte("["+strings.Join(events, ",")+"]"), "store")
	var sizes []int
	seen := map[string]bool{}
	for after := 0; ; {
		body, err := a.get(fmt.Sprintf("/dead-letters?after=%d", after), "application/json")
		if err != nil {
			t.Fatal(err)
		}
		var page struct {
			Letters []struct {
				ID string `json:"event_id"`
			} `json:"dead_letters"`
			Next *int `json:"next_after"`
		}
		if err := json.Unmarshal(body, &page); err != nil {
			t.Fatal(err)
		}
		for _, letter := range page.Letters {
			seen[letter.ID] = true
		}
		sizes = append(sizes, len(page.Letters))
		if page.Next == nil {
			break
		}
		after = *page.Next
	}
	if fmt.Sprint(sizes) != "[1 1 1 100 50]" || len(seen) != large+small {
		t.Errorf("pages of %v letters, %d distinct; want 1 1 1 100 50", sizes, len(seen))
	}
	status := map[string]int{}
	for range readers {
		conn, err := net.Dial("tcp", a.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := errors.Join(conn.(*net.TCPConn).SetReadBuffer(4<<10), conn.SetDeadline(time.Now().Add(requestTimeout))); err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, get("/dead-letters"))
		line := make([]byte, len("HTTP/1.1 200"))
		if _, err := io.ReadFull(conn, line); err != nil {
			t.Fatal(err)
		}
		status[string(line[len(line)-3:])]++
	}
	if status["200"] == 0 || status["503"] == 0 || len(status) != 2 {
		t.Errorf("answered %v, want some 200 and the others 503", status)
	}
}
