package api

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"sekali/aggregator/event"
)

// TestPlainAnswer: the answer that is written by hand is encoding/json's, to the byte.
func TestPlainAnswer(t *testing.T) {
	zero, many := 0, 123_456
	for _, p := range []published{
		{Ack: "memory", Accepted: 1}, {Ack: "journal", Accepted: 100_000}, {Ack: "store", Accepted: many, Stored: &many, Duplicates: &zero},
		{Ack: "store", Stored: &zero, Duplicates: &many},
	} {
		p.Errors = []event.Rejection{}
		want, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.append(nil); !p.plain() || string(got) != string(want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for name, p := range map[string]published{
		"a refused event": {Rejected: 1, Errors: []event.Rejection{{}}}, "results": {Results: []result{{}}}, "a dead letter": {Failed: 1}, "a position": {Position: "1-2"},
	} {
		if p.plain() {
			t.Errorf("an answer with %s is not plain", name)
		}
	}
}

// TestIsHeader knows a header in any case, and no other.
func TestIsHeader(t *testing.T) {
	for line, want := range map[string]bool{"Host: a\r\n": true, "hOST:a\r\n": true, "Hosts: a\r\n": false, "Host\r\n": false, ": Host\r\n": false, "Most: a\r\n": false, "": false} {
		if got := isHeader([]byte(line), bytes.IndexByte([]byte(line), ':'), "Host"); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
}

// TestCheckHostRemembers: what was let in before lets nothing else in.
func TestCheckHostRemembers(t *testing.T) {
	var a Server
	for _, host := range []string{"127.0.0.1:8080", "127.0.0.1:8080", "localhost"} {
		if why := a.checkHost([]byte(host)); why != "" {
			t.Errorf("%s: %s", host, why)
		}
		if why := a.checkHost([]byte("evil.example")); why == "" {
			t.Error("a foreign name was let in")
		}
	}
}

// TestCheckFetch: what a page of elsewhere loads, which sends no Origin, is refused; a link that a
// person follows, and a client that is no browser, are not.
func TestCheckFetch(t *testing.T) {
	for _, c := range []struct {
		site, destination string
		refused           bool
	}{
		{"cross-site", "image", true}, {"cross-site", "script", true}, {"cross-site", "empty", true}, {"cross-site", "iframe", true},
		{"cross-site", "document", false}, {"same-origin", "empty", false}, {"same-site", "image", false}, {"none", "document", false}, {"", "", false},
	} {
		if why := CheckFetch(c.site, c.destination); (why != "") != c.refused {
			t.Errorf("%+v: %q", c, why)
		}
	}
}

// TestAnswerBytes: what is counted for an answer before its events are taken is enough for it.
func TestAnswerBytes(t *testing.T) {
	const events = 1000
	for name, detail := range map[string]string{
		"plain": "not an object", "none": "", "doubled": strings.Repeat(`"\`, 50), "tripled separators": strings.Repeat("\u2028", 50), "markup": strings.Repeat("<", 100),
	} {
		t.Run(name, func(t *testing.T) {
			p := published{Ack: "journal"}
			for i := range events {
				p.Errors = append(p.Errors, event.Rejection{Index: event.MaxEventsPerRequest - 1 - i, Code: event.InvalidTimestamp, Detail: detail})
				p.Results = append(p.Results, result{event.MaxEventsPerRequest - 1 - i, "duplicate", math.MaxInt64})
			}
			var b bytes.Buffer
			encoder := json.NewEncoder(&b)
			encoder.SetEscapeHTML(false)
			if err := encoder.Encode(p); err != nil {
				t.Fatal(err)
			}
			if n := answerBytes(&event.Request{Rejections: p.Errors}, true); n < b.Len() {
				t.Errorf("%d bytes are counted for %d", n, b.Len())
			}
		})
	}
	if n := answerBytes(&event.Request{Events: events, Rejections: make([]event.Rejection, 10)}, false); n != 0 {
		t.Errorf("%d bytes are counted for the answer to a usual request", n)
	}
}
