// Package figures computes what a report says from what a run has left. It is pure: it opens no
// file and asks no clock, so that the same record gives the same figures for ever.
package figures

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/montanaflynn/stats"

	"sekali/bench/internal/audit"
	"sekali/bench/record"
	"sekali/loadgen/ledger"
	"sekali/loadgen/stream"
)

// maxBroken bounds how many broken promises of a fault are described.
const maxBroken = 20

// Fault is a fault's row of the table. The error is for a record that contradicts itself.
func Fault(f record.Fault) (record.FaultSummary, error) {
	t := tally{row: record.FaultSummary{Fault: f.Name, Promise: f.Promise, RecoveryMS: []float64{}, Skipped: f.Skipped}, promise: f.Promise, ends: map[string]int{}}
	for i, trial := range f.Trials {
		if err := t.trial(trial); err != nil {
			return t.row, fmt.Errorf("%s: trial %d: %w", f.Name, i+1, err)
		}
	}
	if r := t.row; f.Tells == record.TellsCounts && f.Skipped == "" && (r.Lost != 1 || r.Duplicated != 1 || r.Unexpected != 1) {
		t.breaks("one was lost, one stored twice, one changed, and the audit did not see that")
	}
	t.row.Seen = t.seen(f)
	t.row.Broken = t.broken[:min(len(t.broken), maxBroken)]
	return t.row, nil
}

// tally adds up a fault's trials.
type tally struct {
	row               record.FaultSummary
	promise           string
	ends              map[string]int
	requests, refused uint64 // requests acknowledged and refused with 503, repeats included
	broken            []string
}

func (t *tally) breaks(format string, args ...any) {
	t.broken = append(t.broken, fmt.Sprintf(format, args...))
}

func (t *tally) trial(trial record.Trial) error {
	t.row.Times += trial.Injected
	t.row.RecoveryMS = append(t.row.RecoveryMS, trial.RecoveryMS...)
	t.broken = append(t.broken, trial.Broken...)
	t.row.Caught += len(trial.Caught)
	for a, err := range trial.Ledger.Attempts() {
		if err != nil {
			return err
		}
		if a.Phase < 0 || a.Phase >= len(trial.Levels) {
			return fmt.Errorf("ledger: request %d is of level %d of %d", a.Request, a.Phase, len(trial.Levels))
		}
		switch {
		case a.Outcome() == ledger.Acknowledged:
			t.requests++
		case a.Status == 503:
			t.refused++
		}
	}
	made, err := stream.New(trial.Stream)
	if err != nil {
		return err
	}
	for i, look := range trial.Looks {
		if !slices.Contains(record.Ends, look.End) {
			return fmt.Errorf("look %d: no such end: %q", i+1, look.End)
		}
		t.ends[look.End]++
		if t.promise == record.PrefixOrRefuse && look.Stored == nil {
			continue // it promises nothing more
		}
		if err := t.look(trial, made, look); err != nil {
			return fmt.Errorf("look %d: %w", i+1, err)
		}
		t.replicas(look.Replicas)
	}
	return t.outages(trial)
}

// replicas holds all nodes of a cluster to the first one.
func (t *tally) replicas(all []record.Replica) {
	if t.promise != record.NothingLost {
		return
	}
	for _, r := range all {
		want := all[0]
		if want.Name = r.Name; r != want {
			t.breaks("%s has %+v, and %s %+v", r.Name, r, all[0].Name, all[0])
		}
	}
}

// outages adds the longest silence of each level around each fault.
func (t *tally) outages(trial record.Trial) error {
	heard := map[string]uint64{} // by level, around all faults
	end := int64(0)
	for i, o := range trial.Outages {
		if o.FromNS < end || o.StruckNS < o.FromNS || o.HealedNS < o.StruckNS || o.UntilNS < o.HealedNS {
			return fmt.Errorf("outage %d is from %d, struck at %d, healed at %d, until %d, behind one until %d", i+1, o.FromNS, o.StruckNS, o.HealedNS, o.UntilNS, end)
		}
		end = o.UntilNS
		for _, l := range o.Levels {
			longest, err := longestSilence(o, l)
			if err != nil {
				return fmt.Errorf("outage %d, %s: %w", i+1, l.Level, err)
			}
			heard[l.Level] += l.Acknowledged
			at := t.level(l.Level)
			t.row.Levels[at].OutageMS = append(t.row.Levels[at].OutageMS, float64(longest)/1e6)
		}
	}
	if len(heard) == 0 {
		return nil
	}
	told := map[string]uint64{} // by the ledger
	for a, err := range trial.Ledger.Attempts() {
		if err != nil {
			return err
		}
		if a.Outcome() == ledger.Acknowledged {
			told[trial.Levels[a.Phase]]++
		}
	}
	for level, n := range heard {
		if n > told[level] {
			return fmt.Errorf("%d requests were acknowledged at %s around the faults, and %d in all", n, level, told[level])
		}
	}
	return nil
}

// longestSilence is the longest of a level around a fault; MinSilenceNS stands for all that are
// shorter.
func longestSilence(o record.Outage, l record.LevelOutage) (longest int64, err error) {
	longest = record.MinSilenceNS
	end := o.FromNS
	for _, s := range l.SilencesNS {
		if s[0] < end || s[1] > o.UntilNS || s[1]-s[0] < record.MinSilenceNS {
			return 0, fmt.Errorf("a silence from %d to %d, behind one until %d", s[0], s[1], end)
		}
		longest, end = max(longest, s[1]-s[0]), s[1]
	}
	// Between silences somebody heard something, or they were one.
	if n := len(l.SilencesNS); n > 1 && l.Acknowledged < uint64(n-1) || l.Acknowledged == 0 && longest != o.UntilNS-o.FromNS {
		return 0, fmt.Errorf("%d silences, and %d acknowledgements", n, l.Acknowledged)
	}
	return longest, nil
}

// level is the row's place of a level, which it has from then on.
func (t *tally) level(name string) int {
	at := slices.IndexFunc(t.row.Levels, func(l record.LevelCounts) bool { return l.Level == name })
	if at < 0 {
		at, t.row.Levels = len(t.row.Levels), append(t.row.Levels, record.LevelCounts{Level: name})
	}
	return at
}

func (t *tally) look(trial record.Trial, made *stream.Stream, look record.Look) error {
	given, stored := uint64(0), look.Stored
	if stored != nil {
		var rest record.Stored
		given, rest = t.given(trial.Given, *stored)
		stored = &rest
	}
	report, checker, err := digested{made, trial.EventsPerRequest, trial.Ledger.Requests(), trial.Ledger}.audit(stored, look.Counters)
	if err != nil {
		return err
	}
	report.Acknowledged += uint64(len(trial.Given))
	report.Lost += uint64(len(trial.Given)) - given
	if look.Stored == nil && look.Again != nil { // what has expired cannot be read: what is new when it is published again was lost
		report.Lost = look.Again.Accepted - min(look.Again.Accepted, look.Again.Duplicates)
	}
	t.add(report, look)
	if look.Stored != nil && look.Again != nil {
		if err := t.again(trial, *look.Again, report.Lost); err != nil {
			return err
		}
	}
	if trial.Whole != nil && look.Stored != nil {
		if err := t.beginning(*look.Stored, *trial.Whole); err != nil {
			return err
		}
	}
	return t.levels(trial, checker)
}

// given takes the events that were there before from what is stored.
func (t *tally) given(given []record.Event, stored record.Stored) (found uint64, rest record.Stored) {
	if len(given) == 0 {
		return 0, stored
	}
	rest = stored
	rest.Strange = slices.Clone(stored.Strange)
	for _, want := range given {
		if at := slices.IndexFunc(rest.Strange, want.Same); at >= 0 {
			found++
			rest.Strange = slices.Delete(rest.Strange, at, at+1)
		}
	}
	return found, rest
}

// add adds a look's counts, and what of its counters does not fit the ledger.
func (t *tally) add(report audit.Report, look record.Look) {
	t.row.Acknowledged += int(report.Acknowledged)
	t.row.Lost += int(report.Lost)
	t.row.Duplicated += int(report.Duplicated)
	t.row.Unexpected += int(report.Unexpected)
	t.row.Recovered += int(report.Recovered)
	if look.Stored == nil {
		return
	}
	t.row.Unexpected += int(look.Stored.OutOfOrder)
	for _, c := range report.FailedChecks() {
		if t.promise == record.SomethingLost || t.promise == record.MustBeCaught {
			break // a control promises nothing of its counters either
		}
		// What may be lost is missing from the counters, too.
		ledgers := c.Name == "received_by_ledger" || c.Name == "duplicate_dropped"
		if !ledgers || t.promise == record.NothingLost && report.Lost == 0 {
			t.breaks("%v", c)
		}
	}
}

// again holds what is stored after everything was published again: once each, and no more than was
// new.
func (t *tally) again(trial record.Trial, again record.Again, lost uint64) error {
	if again.Stored == nil || again.Counters == nil {
		return errors.New("published again, and not read back")
	}
	if anew := again.Accepted - min(again.Accepted, again.Duplicates); anew != lost {
		t.breaks("%d events were new when all was published again; %d had been lost", anew, lost)
	}
	seen := map[uint64]bool{}
	for original, err := range again.Stored.Originals() {
		if err != nil {
			return err
		}
		if seen[original] {
			t.breaks("original %d is stored twice after all was published again", original)
		}
		seen[original] = true
	}
	if n := len(again.Stored.Strange); n > 0 || again.Counters.UniqueProcessed != uint64(len(seen)) {
		t.breaks("published again: %d events, %d counted, %d not as they were sent", len(seen), again.Counters.UniqueProcessed, n)
	}
	made, err := stream.New(trial.Stream)
	if err != nil {
		return err
	}
	for a, err := range trial.Ledger.Attempts() {
		if err != nil {
			return err
		}
		for n := a.Request * trial.EventsPerRequest; a.Outcome() == ledger.Acknowledged && n < (a.Request+1)*trial.EventsPerRequest; n++ {
			if !seen[made.Original(n)] {
				t.breaks("original %d is missing although it was published again", made.Original(n))
			}
		}
	}
	return nil
}

// beginning holds a look to the beginning of what was stored before the damage.
func (t *tally) beginning(stored, whole record.Stored) error {
	var before []uint64
	for original, err := range whole.Originals() {
		if err != nil {
			return err
		}
		before = append(before, original)
	}
	n := 0
	for original, err := range stored.Originals() {
		if err != nil {
			return err
		}
		if n >= len(before) || before[n] != original {
			t.breaks("event %d is original %d: not the beginning of the %d that were stored", n+1, original, len(before))
			return nil
		}
		n++
	}
	return nil
}

// levels adds what each level of acknowledgement has lost.
func (t *tally) levels(trial record.Trial, checker *audit.Checker) error {
	for phase, level := range trial.Levels {
		acknowledged, lost, err := checker.Of(func(a ledger.Attempt) bool { return a.Phase == phase })
		if err != nil {
			return err
		}
		at := t.level(level)
		t.row.Levels[at].Acknowledged += int(acknowledged)
		t.row.Levels[at].Lost += int(lost)
	}
	return nil
}

// outageWords says for how long each level was out, least, median and most.
func (t *tally) outageWords() (words []string) {
	for _, l := range t.row.Levels {
		if len(l.OutageMS) == 0 {
			continue
		}
		sorted := slices.Sorted(slices.Values(l.OutageMS))
		middle, _ := stats.Median(sorted)
		words = append(words, fmt.Sprintf("%s not acknowledged for %.2f, %.2f, %.2f s", l.Level, sorted[0]/1000, middle/1000, sorted[len(sorted)-1]/1000))
	}
	return words
}

// seen is what else the table tells.
func (t *tally) seen(f record.Fault) string {
	if f.Skipped != "" {
		return ""
	}
	var parts []string
	if f.Note != "" {
		parts = append(parts, f.Note)
	}
	switch f.Tells {
	case record.TellsRefusals:
		parts = append(parts, fmt.Sprintf("%d refused with 503", t.refused))
	case record.TellsOverload:
		parts = append(parts, fmt.Sprintf("offered %.1f x what was accepted, the rest refused with 503", float64(t.requests+t.refused)/float64(max(t.requests, 1))))
	case record.TellsOutages:
		parts = append(parts, t.outageWords()...)
	case record.TellsEnds:
		parts = append(parts, fmt.Sprintf("%d opened, %d refused at the start, %d noticed when read or written, %d ended later",
			t.ends[record.Shown], t.ends[record.Refused], t.ends[record.Noticed], t.ends[record.EndedLater]))
	case record.TellsCounts:
		parts = append(parts, fmt.Sprintf("seen: %d lost, %d stored twice, %d changed", t.row.Lost, t.row.Duplicated, t.row.Unexpected))
	}
	return strings.Join(parts, "; ")
}
