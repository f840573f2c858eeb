package api

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"sekali/aggregator/event"
)

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
