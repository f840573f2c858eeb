package attempt

import (
	"net/http"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Full jitter: evenly between nothing and the ceiling, which doubles up to its
// end, on top of what Retry-After asks for.
func TestPauseIsWithinItsCeiling(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Policy{
			BaseDelay:     time.Duration(rapid.IntRange(1, 1e9).Draw(t, "base")),
			MaxRetryAfter: time.Duration(rapid.IntRange(0, 1e10).Draw(t, "max_retry_after")),
		}
		p.MaxDelay = p.BaseDelay + time.Duration(rapid.IntRange(0, 1e10).Draw(t, "more"))
		attempt := rapid.IntRange(1, 1000).Draw(t, "attempt")
		asked := time.Duration(rapid.IntRange(0, 1e11).Draw(t, "asked"))
		floor := min(asked, p.MaxRetryAfter)
		ceiling := min(float64(p.BaseDelay)*float64(uint64(1)<<min(attempt-1, 40)), float64(p.MaxDelay))
		if d := p.Pause(attempt, asked); d < floor || float64(d-floor) > ceiling {
			t.Fatalf("Pause(%d, %v) = %v of %+v", attempt, asked, d, p)
		}
	})
	p := Policy{BaseDelay: time.Second, MaxDelay: time.Second}
	var low, high int
	for range 1000 {
		if d := p.Pause(1, 0); d < time.Second/4 {
			low++
		} else if d > 3*time.Second/4 {
			high++
		}
	}
	if low < 150 || high < 150 {
		t.Errorf("of 1000 delays %d are in the first quarter, %d in the last", low, high)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                              0,
		"0":                             0,
		"7":                             7 * time.Second,
		"-1":                            0,
		"1.5":                           0,
		"99999999999999999999":          0,
		"soon":                          0,
		"Sun, 01 Mar 2026 12:00:30 GMT": 30 * time.Second,
		"Sun, 01 Mar 2026 11:00:00 GMT": 0,
	} {
		if got := RetryAfter(http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

func TestPolicyValidate(t *testing.T) {
	if err := (Policy{}).Validate(); err != nil {
		t.Error(err)
	}
	for name, p := range map[string]Policy{
		"negative":       {MaxAttempts: -1},
		"without bounds": {MaxAttempts: 2},
		"max below base": {MaxAttempts: 2, MaxElapsed: time.Second, BaseDelay: 2, MaxDelay: 1},
	} {
		if p.Validate() == nil {
			t.Errorf("%s: %+v passed", name, p)
		}
	}
}

// An answer that does not name each rejected event once leaves open which ones are stored.
func TestAnswerNames(t *testing.T) {
	for body, want := range map[string]bool{
		`{"accepted":2,"rejected":0}`:                                    true,
		`{"accepted":1,"rejected":1,"errors":[{"index":1}]}`:             true,
		`{"accepted":1,"rejected":1}`:                                    false,
		`{"accepted":1,"rejected":1,"errors":[{"index":2}]}`:             false,
		`{"accepted":1,"rejected":1,"errors":[{"index":-1}]}`:            false,
		`{"accepted":0,"rejected":2,"errors":[{"index":1},{"index":1}]}`: false,
		`{"accepted":3,"rejected":-1,"errors":[]}`:                       false,
		`{"accepted":2}<html>`:                                           false,
		`{"rejected":2,"errors":[{"index":0},{"index":1}]}`:              false,
	} {
		a := ParseAnswer([]byte(body))
		if got := a.Counts(2) && a.Names(2); got != want {
			t.Errorf("%s: %v", body, got)
		}
	}
}

// An answer at store accounts for each event that it accepts, also for those that the database
// refused. Which these are is known only if it names as many.
func TestAnswerAtStore(t *testing.T) {
	const counts = `{"ack":"store","accepted":3,"rejected":0,"stored":1,"duplicates":1,"failed":1`
	named := func(second string) string {
		return counts + `,"results":[{"index":0,"status":"stored"},` + second + `,{"index":2,"status":"duplicate"}]}`
	}
	for body, want := range map[string]struct {
		isOf, named bool
		failures    int
	}{
		`{"ack":"store","accepted":3,"rejected":0,"stored":2,"duplicates":1}`:             {true, true, 0},
		`{"ack":"store","accepted":3,"rejected":0,"stored":1,"duplicates":1}`:             {false, true, 0},
		`{"ack":"store","accepted":3,"rejected":0,"stored":3,"duplicates":1,"failed":-1}`: {false, false, 0},
		`{"ack":"store","accepted":3,"rejected":0,"stored":1,"duplicates":1,"failed":2}`:  {false, false, 0},
		counts + `}`:                                 {true, false, 0},
		named(`{"index":1,"status":"failed"}`):       {true, true, 1},
		named(`{"index":1,"status":"stored"}`):       {true, false, 0},
		named(`{"index":0,"status":"failed"}`):       {true, false, 0},
		counts + `,"results":[{"status":"failed"}]}`: {true, false, 1},
	} {
		a := ParseAnswer([]byte(body))
		failures, named := a.Failures(3)
		if !a.Counts(3) || a.IsOf("store", 200) != want.isOf || named != want.named || len(failures) != want.failures {
			t.Errorf("%s: failures %v, named %v", body, failures, named)
		}
	}
}
