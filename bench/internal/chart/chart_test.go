package chart_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekali/bench/internal/chart"
	"sekali/bench/labtest/resulttest"
	"sekali/bench/record"
)

var update = flag.Bool("update", false, "write the pictures in testdata; look at them before committing")

func model(t *testing.T, m resulttest.Model) *record.Raw {
	t.Helper()
	dir := t.TempDir()
	if err := resulttest.Write(dir, m); err != nil {
		t.Fatal(err)
	}
	raw, err := record.ReadRaw(dir)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// The pictures are compared byte for byte: `go test ./bench/internal/chart -update` draws them
// anew.
func TestPictures(t *testing.T) {
	kill := model(t, resulttest.Model{Scenario: "kill", Case: "journal", Ack: "journal", Rate: 200, Measured: 4 * time.Second,
		EventsPerS: 8000, Seed: 1, Kill: 3 * time.Second, Down: 400 * time.Millisecond})
	late := model(t, resulttest.Model{Scenario: "kill", Case: "late", Ack: "journal", Rate: 200, Measured: 4 * time.Second,
		EventsPerS: 8000, Seed: 1, Kill: 4300 * time.Millisecond, Down: 400 * time.Millisecond})
	burst := model(t, resulttest.Model{Scenario: "burst", Ack: "journal", Rate: 300, Measured: 4 * time.Second, EventsPerS: 8000, Seed: 2})
	faster := model(t, resulttest.Model{Scenario: "burst", Ack: "journal", Rate: 300, Measured: 4 * time.Second, EventsPerS: 11000, Seed: 2})
	for name, draw := range map[string]func() ([]byte, error){
		"kill.svg":      func() ([]byte, error) { return chart.Run(kill.Run, kill.Trace) },
		"kill-late.svg": func() ([]byte, error) { return chart.Run(late.Run, late.Trace) },
		"burst.svg":     func() ([]byte, error) { return chart.Run(burst.Run, burst.Trace) },
		"queues.svg": func() ([]byte, error) {
			return chart.Queues("A synthetic", chart.NewTrace(burst.Run, burst.Trace), "B synthetic", chart.NewTrace(faster.Run, faster.Trace))
		},
		"faults.svg": func() ([]byte, error) {
			line := []chart.Line{{Name: "accepted", X: []float64{0, 10, 20, 30}, Y: []float64{0, 3, 2, 1}}, {Name: "committed", X: []float64{0, 30}, Y: []float64{1, 2}}}
			return chart.Timeline([]chart.Panel{{Label: "events/s", Lines: line}}, []chart.Span{
				{Name: "SIGKILL, until ready", From: 5, To: 5.1, Fault: true}, {Name: "SIGKILL, until ready", From: 15, To: 15.1, Fault: true}})
		},
		"fault-long.svg": func() ([]byte, error) {
			line := []chart.Line{{Name: "accepted", X: []float64{0, 10, 20, 30}, Y: []float64{0, 3, 2, 1}}, {Name: "committed", X: []float64{0, 30}, Y: []float64{1, 2}}}
			return chart.Timeline([]chart.Panel{{Label: "events/s", Lines: line}}, []chart.Span{
				{Name: "steady", From: 0, To: 30, Measured: true}, {Name: "partition", From: 5, To: 27, Fault: true}})
		},
		"bars.svg": func() ([]byte, error) {
			return chart.Bars([]string{"memory", "journal", "store"}, []chart.BarPanel{
				{Label: "response time, ms", Series: []chart.Series{{Name: "p50", Values: []float64{1.2, 2.34567, 30}},
					{Name: "p90", Values: []float64{2, 4, 51.5}}, {Name: "p99", Values: []float64{3, 9, math.NaN()}}}},
				{Label: "stored events/s", Series: []chart.Series{{Name: "stored", Values: []float64{123456, 123, 0}}}}})
		},
		"curves.svg": func() ([]byte, error) {
			sizes := []float64{1, 10, 100, 1000}
			return chart.Curves("load.events_per_request", []chart.Panel{
				{Label: "processed events/s", Lines: []chart.Line{{Name: "uuid4", X: sizes, Y: []float64{2000, 15000, 60000, 74000}},
					{Name: "time", X: sizes, Y: []float64{2100, 14000, math.NaN(), 80000}}}},
				{Label: "response time, ms", Lines: []chart.Line{{X: sizes, Y: []float64{1.8, 2.3, 3.1, 22}}}}})
		},
		"trend.svg": func() ([]byte, error) {
			at := []float64{1, 2, 3, 4}
			return chart.Trend("commit", []string{"9090d9f", "7d285c2", "7d285c2", "ebc0d34"}, []chart.Panel{
				{Label: "processed events/s", Lines: []chart.Line{{X: at, Y: []float64{240000, 251000, 249000, 253000}}}, Hollow: []float64{2}},
				{Label: "p99, ms", Lines: []chart.Line{{X: at, Y: []float64{7.5, 9, math.NaN(), 7}}}, Hollow: []float64{2}}})
		},
		"curve-linear.svg": func() ([]byte, error) {
			return chart.Curves("stream.duplicates", []chart.Panel{
				{Label: "bytes written/stored", Lines: []chart.Line{{X: []float64{0, 0.2, 0.5}, Y: []float64{900, 950, 1200}}}},
				{Label: "nothing was measured", Lines: []chart.Line{{X: []float64{0, 0.2, 0.5}, Y: []float64{math.NaN(), math.NaN(), math.NaN()}}}}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := draw()
			if err != nil {
				t.Fatal(err)
			}
			again, err := draw()
			if err != nil || !bytes.Equal(text, again) {
				t.Errorf("drawn twice, the bytes differ (%v)", err)
			}
			wellFormed(t, text)
			path := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(path, text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(text, want) {
				t.Errorf("%s differs from what is drawn now", path)
			}
		})
	}
}

// TestFaultsOfOneName: their name stands there once.
func TestFaultsOfOneName(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "faults.svg"))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte(">SIGKILL, until ready<")); n != 1 {
		t.Errorf("%d times", n)
	}
}

func wellFormed(t *testing.T, text []byte) {
	t.Helper()
	decoder := xml.NewDecoder(bytes.NewReader(text))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestNumber(t *testing.T) {
	for x, want := range map[float64]string{0: "0", 1: "1", 999: "999", 1000: "1 000", 1234567: "1 235 000", -4321.5: "-4 322",
		0.01234: "0.01234", 0.5: "0.5", 12.3456: "12.35", 99999.9: "100 000", 1e-7: "1e-07", 2.5e9: "2 500 000 000"} {
		if got := chart.Number(x); got != want {
			t.Errorf("Number(%v) is %q, expected %q", x, got, want)
		}
	}
}

// A rate must not be invented across a time without an answer, nor be negative where a kill took
// events back.
func TestTraceLeavesGaps(t *testing.T) {
	const ms = int64(1e6)
	samples := []record.Sample{
		{TNS: 0, AnsweredNS: 1},
		{TNS: 100 * ms, AnsweredNS: 1, Received: 100, QueueDepth: 100},
		{TNS: 200 * ms},
		{TNS: 300 * ms, AnsweredNS: 1, Received: 40, UniqueProcessed: 40},
	}
	trace := chart.NewTrace(record.Run{DrainedNS: 300 * ms}, samples)
	if trace.Accepted[1] != 1000 || trace.Depth[1] != 100 {
		t.Errorf("accepted %v, depth %v", trace.Accepted, trace.Depth)
	}
	if !math.IsNaN(trace.Accepted[2]) || !math.IsNaN(trace.Depth[2]) {
		t.Errorf("a sample without an answer has accepted %v, depth %v", trace.Accepted[2], trace.Depth[2])
	}
	if !math.IsNaN(trace.Accepted[3]) {
		t.Errorf("from one sample a rate of %v", trace.Accepted[3])
	}
}

// TestSpark: a line from zero to the largest value, with a gap where nothing is known.
func TestSpark(t *testing.T) {
	text := chart.Spark([]float64{0, 10, math.NaN(), 5})
	wellFormed(t, text)
	if want := `d="M1.0 23.0L40.3 1.0M119.0 12.0"`; !strings.Contains(string(text), want) {
		t.Errorf("%s, want %s", text, want)
	}
	for _, none := range [][]float64{nil, {math.NaN()}, {0}} {
		wellFormed(t, chart.Spark(none))
		if strings.Contains(string(chart.Spark(none)), "NaN") {
			t.Errorf("%v: %s", none, chart.Spark(none))
		}
	}
}
