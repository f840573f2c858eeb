package faults

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
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

// TestRecordedEndsByItself: a recorded aggregator that ends without the injected fault has ended by
// itself, and the error has its exit and its last words. One that the fault has ended has not.
func TestRecordedEndsByItself(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("skipped: strace is not installed")
	}
	const listens, ends, syncs = `echo '{"msg":"listening","addr":"127.0.0.1:1"}' >&2; `, `echo "panic: out of luck" >&2; exit 7`, `: >"$6/f"; exec sync "$6/f"`
	for name, test := range map[string]struct {
		does   string
		inject string
		itself string // the exit; "": it has not ended by itself
	}{
		"under load":                     {listens + "sleep 0.2; " + ends, "", "exit code 7"},
		"in its start, before the kill":  {ends, "fsync,fdatasync:signal=KILL:when=1", "exit code 7"},
		"in its start, before a failure": {ends, "fsync,fdatasync:error=EIO:when=1", "exit code 7"},
		"by a panic behind a failure":    {`: >"$6/f"; sync "$6/f"; ` + ends, "fsync,fdatasync:error=EIO:when=1", "exit code 7"},
		"killed by somebody else":        {listens + "sleep 0.2; echo out of luck >&2; kill -9 $$", "", "killed by SIGKILL"},
		"by the kill":                    {syncs, "fsync,fdatasync:signal=KILL:when=1", ""},
		"by the failure":                 {syncs, "fsync,fdatasync:error=EIO:when=1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "aggregator")
			if err := os.WriteFile(program, []byte("#!/bin/sh\nmkdir -p \"$6\"\n"+test.does+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			s := &sitting{ctx: t.Context(), dir: t.TempDir(), Config: Config{Crash: program, Log: io.Discard}}
			defer s.cleanUp()
			r, err := s.newRecording()
			if err != nil {
				t.Fatal(err)
			}
			err = r.live(life{requests: recordedRequests, inject: test.inject})
			if test.itself == "" {
				if !errors.As(err, &notStarted{}) {
					t.Errorf("the fault's: %v", err)
				}
				return
			}
			if err == nil || errors.As(err, &notStarted{}) || !strings.Contains(err.Error(), "by itself: "+test.itself+"\n") || !strings.Contains(err.Error(), "out of luck") {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestImageEndsByItself: so has one on an image, and what it was asked says nothing of it.
func TestImageEndsByItself(t *testing.T) {
	program := filepath.Join(t.TempDir(), "aggregator")
	text := "#!/bin/sh\necho '{\"msg\":\"listening\",\"addr\":\"127.0.0.1:1\"}' >&2\nsleep 0.1\necho 'panic: out of luck' >&2\nexit 7\n"
	if err := os.WriteFile(program, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	s := &sitting{ctx: t.Context(), Config: Config{Crash: program, Log: io.Discard}}
	defer s.cleanUp()
	one, err := s.newTrial(t.TempDir(), everyLevel...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := one.lookAtImage(false); err == nil || !strings.Contains(err.Error(), "ended by itself: exit code 7\n") || !strings.Contains(err.Error(), "out of luck") {
		t.Error(err)
	}
}
