package integration_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestNothingIsSmuggled: after a request whose end is in doubt, what stands behind it on the
// connection is not taken for another: there is one answer, and the connection is closed.
func TestNothingIsSmuggled(t *testing.T) {
	a := start(t, dataFolder(t))
	event := oneEvent("front")
	chunks := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(event), event)
	length := fmt.Sprintf("Content-Length: %d\r\n", len(event))
	for name, doubtful := range map[string]string{
		"two lengths":                  length + "Content-Length: 3\r\n\r\n" + event,
		"the same length twice":        length + length + "\r\n" + event,
		"a list of lengths":            fmt.Sprintf("Content-Length: %d, %[1]d\r\n\r\n", len(event)) + event,
		"a length with a sign":         fmt.Sprintf("Content-Length: +%d\r\n\r\n", len(event)) + event,
		"a length in hexadecimal":      fmt.Sprintf("Content-Length: %#x\r\n\r\n", len(event)) + event,
		"a length beyond 64 bits":      "Content-Length: 18446744073709551681\r\n\r\n" + event,
		"an empty length":              "Content-Length:\r\n\r\n" + event,
		"a length, space, colon":       strings.Replace(length, ":", " :", 1) + "\r\n" + event,
		"encoding, space, colon":       length + "Transfer-Encoding : chunked\r\n\r\n" + chunks,
		"two encodings":                "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + chunks,
		"an encoding before chunked":   "Transfer-Encoding: gzip, chunked\r\n\r\n" + chunks,
		"nearly chunked":               "Transfer-Encoding: xchunked\r\n\r\n" + chunks,
		"chunked after a vertical tab": "Transfer-Encoding: \vchunked\r\n\r\n" + chunks,
		"chunked in quotes":            "Transfer-Encoding: \"chunked\"\r\n\r\n" + chunks,
		"chunks that end in LF":        "Transfer-Encoding: chunked\r\n\r\n" + strings.ReplaceAll(chunks, "\r\n", "\n"),
		"a chunk extension with LF":    "Transfer-Encoding: chunked\r\n\r\n" + strings.Replace(chunks, "\r\n", ";a\nb\r\n", 1),
		"a chunk size with 0x":         "Transfer-Encoding: chunked\r\n\r\n0x" + chunks,
		"a chunk size with a sign":     "Transfer-Encoding: chunked\r\n\r\n+" + chunks,
		"a chunk without a size":       "Transfer-Encoding: chunked\r\n\r\n\r\n" + event + "\r\n0\r\n\r\n",
		"a chunk longer than it says":  "Transfer-Encoding: chunked\r\n\r\n" + strings.Replace(chunks, "}\r\n", "}XX", 1),
		"a length in the trailer":      "Transfer-Encoding: chunked\r\n\r\n" + strings.TrimSuffix(chunks, "\r\n") + "Content-Length: 5\r\n\r\n",
		"NUL in a header":              "X: a\x00b\r\n" + length + "\r\n" + event,
		"CR in a header":               "X: a\rb\r\n" + length + "\r\n" + event,
		"a header without a colon":     "X\r\n" + length + "\r\n" + event,
		"a second host":                "Host: y\r\n" + length + "\r\n" + event,
	} {
		t.Run(name, func(t *testing.T) {
			answers := a.pipeline(t, "POST /publish HTTP/1.1\r\nHost: x\r\n"+jsonType+doubtful+post(jsonType, oneEvent("behind")), 2)
			if len(answers) != 1 || answers[0].status != 400 {
				t.Errorf("%d answers, want one, 400: %+v", len(answers), answers)
			}
		})
	}
	if c := a.drained(t); c.Received != 0 {
		t.Errorf("%+v, want nothing received", c)
	}
}

// TestPipelining: requests that are sent without waiting for answers, good and bad in turn, are
// answered in their order, and each event is stored with its own bytes: they are answered at
// ack=memory while nothing can be committed, so that all wait in memory while the connection's
// buffers are used for the next.
func TestPipelining(t *testing.T) {
	const rounds = 50
	data := dataFolder(t)
	a := start(t, data)
	db := openDatabase(t, data)
	defer db.Close()
	if _, err := db.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	var requests strings.Builder
	var want []int
	add := func(request string, status int) {
		requests.WriteString(request)
		want = append(want, status)
	}
	body := func(i int) string {
		return oneEvent(fmt.Sprint(i), fmt.Sprintf(`,"payload":"%s"`, strings.Repeat(string(rune('a'+i%26)), 10*i)))
	}
	for i := range rounds {
		add(strings.Replace(post(jsonType, body(i)), "/publish", "/publish?ack=memory", 1), 202)
		add(post(jsonType, "["+oneEvent("cut")), 400)
		add(get("/nope"), 404)
		add(post(jsonType, `{"topic":"t"}`), 422)
		add(post("Content-Type: text/plain\r\n", oneEvent("text")), 415)
		add(get("/livez"), 200)
		add(get("/publish"), 405)
	}
	var statuses []int
	for _, answer := range a.pipeline(t, requests.String(), len(want)) {
		statuses = append(statuses, answer.status)
	}
	if !slices.Equal(statuses, want) {
		t.Errorf("answers %v\nwant %v", statuses, want)
	}
	if c, err := a.stats(); err != nil || c.Queue != rounds {
		t.Errorf("%+v, %v: want all of %d to wait", c, err, rounds)
	}
	if _, err := db.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	a.drained(t)
	lines := bytes.Split(bytes.TrimSpace(a.export(t)), []byte("\n"))
	if len(lines) != rounds {
		t.Fatalf("%d stored, want %d", len(lines), rounds)
	}
	for i, line := range lines {
		var got, want struct {
			ID      string `json:"event_id"`
			Payload string
		}
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(body(i)), &want); err != nil || got != want {
			t.Errorf("event %d is %.80v, want %.80v; %v", i, got, want, err)
		}
	}
}

type response struct {
	status int
	body   string
}

// pipeline writes raw requests to one connection at once and returns up to most answers: fewer if
// it is closed before.
func (a *aggregator) pipeline(t *testing.T, requests string, most int) (answers []response) {
	t.Helper()
	conn, err := net.Dial("tcp", a.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(requestTimeout)); err != nil {
		t.Fatal(err)
	}
	go io.WriteString(conn, requests) // the server may close before it has read all
	for r := bufio.NewReader(conn); len(answers) < most; {
		answer, err := http.ReadResponse(r, nil)
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			t.Fatalf("neither answered nor closed within %v, after %+v", requestTimeout, answers)
		}
		if err != nil {
			break
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		answers = append(answers, response{answer.StatusCode, string(body)})
	}
	return answers
}

// TestResetWithinARequest: connections that are reset in the middle of a request leave nothing
// behind, neither an event of those that had come, nor the bytes that were set aside for the rest.
func TestResetWithinARequest(t *testing.T) {
	const (
		resets   = 40 // of each; five times the bodies' bound, if they were counted for ever
		bodySize = 16 << 20
		// busyFor is how long the server may take to see that they are gone.
		busyFor = 5 * time.Second
	)
	a := start(t, dataFolder(t))
	lines := strings.Repeat(oneEvent("reset")+"\n", 500)
	for name, sent := range map[string]string{
		"headers":    "POST /publish HTTP/1.1\r\nHost:",
		"length":     fmt.Sprintf("POST /publish HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n%s", bodySize, lines),
		"chunks":     fmt.Sprintf("POST /publish HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(lines), lines),
		"an answer":  get("/events"),
		"the stream": get("/events/stream"),
	} {
		for range resets {
			conn, err := net.Dial("tcp", a.Addr)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, sent); err != nil && name == "headers" {
				t.Fatal(err)
			}
			if err := conn.(*net.TCPConn).SetLinger(0); err != nil { // reset, not closed
				t.Fatal(err)
			}
			conn.Close()
		}
	}
	full := []byte(oneEvent("full", `,"payload":"`+strings.Repeat("x", bodySize-200)+`"`))
	for end := time.Now().Add(busyFor); ; time.Sleep(100 * time.Millisecond) {
		status, text, err := a.publish(full, "store")
		if err == nil && status == 200 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("a body of %d MiB: %d %s %v", bodySize>>20, status, text, err)
		}
	}
	if c := a.drained(t); c.Received != 1 {
		t.Errorf("%+v, want one received", c)
	}
	a.stop(t)
}
