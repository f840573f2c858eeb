package terminal

import (
	"fmt"
	"io"
	"strings"

	"sekali/bench/judge"
	"sekali/bench/record"
)

// Soak prints what was lost in a soak and what grew.
func Soak(w io.Writer, s record.SoakSummary) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s, %s\n%.0f s at %.0f requests/s of %d events, %d SIGKILLs: %d events acknowledged, %d lost, %d stored twice, %d unexpected\n\n",
		s.Date, s.Machine, s.Commit, s.Seconds, s.RequestsPerS, s.EventsPerRequest, len(s.KillsS), s.Acknowledged, s.Lost, s.Duplicated, s.Unexpected)
	if why := judge.SoakInvalid(s); why != "" {
		fmt.Fprintf(&b, "INVALID: %s\n\n", why)
	}
	for _, broken := range s.Broken {
		fmt.Fprintf(&b, "NOT HELD: %s\n\n", broken)
	}
	fmt.Fprintf(&b, "%-22s %-31s %9s %9s %9s\n", "", "", "first", "last", "at most")
	for _, d := range judge.Drifts(s) {
		verdict := ""
		switch {
		case d.Held():
		case d.Control():
			verdict = "  SLOWER MACHINE"
		default:
			verdict = "  TREND"
		}
		fmt.Fprintf(&b, "%-22s %-31s %9.4g %9.4g %9.4g%s\n", d.Stretch, d.Column, d.First, d.Last, d.Most, verdict)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
