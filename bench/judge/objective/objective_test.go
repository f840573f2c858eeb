package objective

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"sekali/bench/record"
)

func ms(v float64) *float64 { return &v }

func TestFailed(t *testing.T) {
	s := record.Summary{MeasuredS: 10, DrainS: 1.5, ResponseTimeMS: record.Percentiles{P50: ms(4), P90: ms(20), Max: ms(60)}}
	for text, want := range map[string]string{
		"p50<5ms":                 "",
		"p50<4ms":                 "p50 is 4 ms, not p50<4ms",
		"p50<=4ms":                "",
		"p50=4ms":                 "",
		"p90<0.021s,refused=0":    "",
		"p90<19000us":             "p90 is 20 ms, not p90<19000us",
		"p99<50ms":                "p99 is 60 ms, not p99<50ms", // withheld: the longest
		"p99<61ms":                "",
		"backlog<2s,leftover<10%": "leftover is 15 %, not leftover<10%",
		"backlog<1s, leftover<9%": "backlog is 1.5 s, not backlog<1s; leftover is 15 %, not leftover<9%",
		"refused=1":               "refused is 0, not refused=1",
	} {
		o, err := Parse(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := strings.Join(o.Failed(s), "; "); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestNothingMeasuredMeetsNothing: a run in which no request was acknowledged has no response time,
// and is not quick.
func TestNothingMeasuredMeetsNothing(t *testing.T) {
	o, err := Parse("p50<1s,p99<50ms,p999<1s,leftover<10%,refused=0")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"p50 has no sample, so not p50<1s", "p99 has no sample, so not p99<50ms", "p999 has no sample, so not p999<1s",
		"leftover has no sample, so not leftover<10%"}
	if got := o.Failed(record.Summary{}); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestFigures(t *testing.T) {
	o, err := Parse("leftover<1%,p99<1s,backlog<1s,p50<1s,refused=0")
	if err != nil {
		t.Fatal(err)
	}
	got := o.Figures(record.Summary{MeasuredS: 3, DrainS: 1, ResponseTimeMS: record.Percentiles{P50: ms(4)}})
	if want := map[string]float64{"leftover": 33.3333, "backlog": 1, "p50": 4, "refused": 0}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if names, units := o.Metrics(); !slices.Equal(names, []string{"leftover", "p99", "backlog", "p50", "refused"}) || !slices.Equal(units, []string{"%", "ms", "s", "ms", ""}) {
		t.Errorf("%q in %q", names, units)
	}
}

// TestRefusedCountsAttempts: a request whose three attempts were all refused is three refusals, not
// four.
func TestRefusedCountsAttempts(t *testing.T) {
	s := record.Summary{RequestsRefused: 1, Retries: 2, ErrorsByCause: map[string]uint64{"503 queue_full": 2, "503 disk_failing": 1, "0 reset": 7}}
	o, err := Parse("refused=0")
	if err != nil {
		t.Fatal(err)
	}
	if got := o.Failed(s); !slices.Equal(got, []string{"refused is 3, not refused=0"}) {
		t.Errorf("%q", got)
	}
}

func TestRefusals(t *testing.T) {
	for text, offset := range map[string]int{
		"":                           0,
		"p99":                        0,
		"p99>50ms":                   0,
		"<50ms":                      0,
		"p98<50ms":                   0,
		"backlog < 1s":               0,
		"p99<":                       4,
		"p99<50":                     4,
		"p99<50ms,":                  9,
		"p99<-1ms":                   4,
		"p99<+1ms":                   4,
		"p99<.5ms":                   4,
		"p99<1e3ms":                  4,
		"p99<0x10ms":                 4,
		"p99<0x1p4ms":                4,
		"p99<1_000ms":                4,
		"p99<NaNms":                  4,
		"p99<INFms":                  4,
		"p99<infms":                  4,
		"p99<50msms":                 4,
		"refused=0ms":                8,
		"p50<1ms, p99<=1h":           14,
		"p99<50ms,refused=0,p99<1s":  19,
		"refused=0, refused=0":       11,
		"leftover<10%,backlog<100h":  21,
		"p99<" + tooLarge + "ms,p50": 4,
	} {
		o, err := Parse(text)
		var refusal *Error
		if !errors.As(err, &refusal) || refusal.Offset != offset || !strings.Contains(err.Error(), ", column ") {
			t.Errorf("%q: %v, %v, want a refusal at %d", text, o, err, offset)
		}
	}
}

var tooLarge = strings.Repeat("9", 400)

func TestStringParsesAgain(t *testing.T) {
	o, err := Parse("p99<50ms, refused=0")
	if err != nil || o.String() != "p99<50ms,refused=0" {
		t.Errorf("%q, %v", o, err)
	}
}
