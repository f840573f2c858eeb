package faults

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sekali/bench/system/crashimage"
	"sekali/loadgen/ledger"
)

// traced is a recording in which attempt 0 at request 7 was refused, and attempt 1 acknowledged:
// before each of these four moments the aggregator writes to its folder.
func traced(t *testing.T) *recording {
	t.Helper()
	hexed := func(text string) (b string) {
		for _, c := range []byte(text) {
			b += fmt.Sprintf(`\x%02x`, c)
		}
		return b
	}
	moment := func(call, path, text string) string {
		return fmt.Sprintf("1 mkdir(\"%s\", 0700) = 0\n1 %s(5<%s>, \"%s\", 9) = 9\n", hexed("/data/folder"), call, hexed(path), hexed(text))
	}
	text := moment("read", "socket:[1]", "POST / HTTP/1.1\r\n"+crashimage.Header+": 0\r\n\r\n") + moment("write", "socket:[1]", "HTTP/1.1 503 ") +
		moment("read", "socket:[1]", "POST / HTTP/1.1\r\n"+crashimage.Header+": 1\r\n\r\n") + moment("write", "socket:[1]", "HTTP/1.1 202 ") + "1 +++ exited with 0 +++\n"
	r := &recording{&trial{s: &sitting{}, sent: 3}, crashimage.NewTrace("/data")}
	if err := r.trace.Read(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	r.attempts = map[int]ledger.Attempt{0: {Request: 7, Attempt: 1, Status: 503, Cause: "queue_full"}, 1: {Request: 7, Attempt: 1, Phase: 1, Status: 202, Accepted: 20},
		2: {Request: 8, Attempt: 1, Cause: ledger.CauseReset}}
	return r
}

// TestLedgerOfACut: a publisher that had no answer when the power was cut has an attempt of unknown
// fate, and one that was not heard has sent nothing.
func TestLedgerOfACut(t *testing.T) {
	r := traced(t)
	if err := r.holdTrace(); err != nil {
		t.Fatal(err)
	}
	for cut, want := range [][]ledger.Outcome{{}, {ledger.Unknown}, {ledger.Refused}, {ledger.Refused, ledger.Unknown}, {ledger.Refused, ledger.Acknowledged}} {
		one := r.cutAt(cut, "")
		one.end()
		got := []ledger.Outcome{}
		for a, err := range one.record.Ledger.Attempts() {
			if err != nil || a.Request != 7 {
				t.Fatal(a, err)
			}
			got = append(got, a.Outcome())
		}
		if !slices.Equal(got, want) {
			t.Errorf("cut before call %d: %v, want %v", cut, got, want)
		}
	}
}

// TestTraceWithoutAnAnswer: a trace that lacks what a publisher was told is no record of a run.
func TestTraceWithoutAnAnswer(t *testing.T) {
	r := traced(t)
	r.attempts[2] = ledger.Attempt{Request: 8, Attempt: 1, Status: 202, Accepted: 20}
	if err := r.holdTrace(); err == nil {
		t.Error("request 8 was acknowledged, and the trace does not have it")
	}
}
