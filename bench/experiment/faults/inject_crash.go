package faults

import (
	"cmp"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sekali/bench/record"
	"sekali/loadgen/stream"
)

const (
	// crashWait is how long a load may take to reach a place.
	crashWait = 10 * time.Second
	// afterCrash is how long the aggregator is loaded between two crashes.
	afterCrash = 50 * time.Millisecond
)

// killed kills the aggregator at random moments, again and again on one folder.
func killed(s *sitting) error {
	t, err := s.newTrial(s.dataFolder(), everyLevel...)
	if err != nil {
		return err
	}
	t.pause = pause
	a, err := s.start(t.data)
	if err != nil {
		return err
	}
	for range s.times() {
		time.AfterFunc(time.Duration(20+rand.IntN(300))*time.Millisecond, a.Kill)
		if err := t.load(a.URL, a.Exited()); err != nil {
			return err
		}
		t.wasKilled(a)
		t.injected()
		if a, err = t.restart(); err != nil {
			return err
		}
	}
	return t.lookAndStop(a)
}

// killedAtMemory is the control of every kill: the level promises nothing, and the audit must see
// it.
func killedAtMemory(s *sitting) error {
	for range s.times() {
		t, err := s.newTrial(s.dataFolder(), "memory")
		if err != nil {
			return err
		}
		a, err := s.start(t.data, smallBatches)
		if err != nil {
			return err
		}
		time.AfterFunc(300*time.Millisecond, a.Kill)
		if err := t.load(a.URL, a.Exited()); err != nil {
			return err
		}
		t.wasKilled(a)
		t.injected()
		if a, err = t.restart(); err != nil {
			return err
		}
		if err := t.lookAndStop(a); err != nil {
			return err
		}
	}
	return nil
}

// passes are how often a place has been passed when the aggregator dies there, one for each time.
func (s *sitting) passes() (passes []int) {
	spread := []int{1, 2, 3, 5, 8, 13, 21}
	if s.Short {
		spread = []int{1, 4}
	}
	for i := range s.times() {
		passes = append(passes, spread[i%len(spread)])
	}
	return passes
}

// crashAt kills the aggregator at a named place of its code, the first times it is passed, and
// later ones.
func crashAt(place string) func(s *sitting) error {
	return func(s *sitting) error {
		t, err := s.newTrial(s.dataFolder(), everyLevel...)
		if err != nil {
			return err
		}
		if passedAtStart[place] { // of a folder that has something
			a, err := s.start(t.data)
			if err == nil {
				err = t.loadFor(a.URL, afterCrash)
			}
			if err != nil {
				return err
			}
			t.kill(a)
		}
		for _, n := range s.passes() {
			if passedAtStart[place] {
				n = 1
			}
			if err := t.crash(fmt.Sprint(place, ":", n)); err != nil {
				return err
			}
			// Recovery by a build with the same small bounds, which goes on to write runs and segments.
			began := time.Now()
			a, err := s.startCrash(nil, t.data)
			t.record.RecoveryMS = append(t.record.RecoveryMS, milliseconds(time.Since(began)))
			if err == nil {
				err = t.loadFor(a.URL, afterCrash)
			}
			if err != nil {
				return err
			}
			t.kill(a)
		}
		a, err := s.startCrash(nil, t.data)
		if err != nil {
			return err
		}
		if err := t.look(a); err != nil {
			return err
		}
		t.expect(a.stop())
		t.expect(s.check(t.data))
		t.end()
		return nil
	}
}

// crash loads a build that dies at a place, until it does.
func (t *trial) crash(at string, flags ...string) error {
	t.injected()
	a, err := t.s.startCrash([]string{"SEKALI_CRASH=" + at}, t.data, flags...)
	if err != nil { // it has died before it listened
		if !strings.Contains(err.Error(), "SIGKILL") {
			return err
		}
		return nil
	}
	timer := time.AfterFunc(crashWait, func() {
		t.broken("%s was not passed within %v", at, crashWait)
		a.Kill()
	})
	defer timer.Stop()
	err = t.load(a.URL, a.Exited())
	if err == nil {
		t.wasKilled(a)
	}
	return err
}

// crashedExpiring kills the aggregator while events expire. What has expired can no more be read:
// all is published again, and must be a duplicate.
func crashedExpiring(s *sitting) error {
	t, err := s.newTrial(s.dataFolder(), everyLevel...)
	if err != nil {
		return err
	}
	t.pause = 10 * pause // all of it is to fit into one request
	for n := range s.times() {
		if err := t.crash(fmt.Sprint(crashExpiring, ":", n+1), "-retention=1s"); err != nil {
			return err
		}
	}
	a, err := t.restart()
	if err != nil {
		return err
	}
	before, err := a.drained()
	if err != nil {
		return err
	}
	again, err := t.publishAgain(a)
	if err != nil {
		return err
	}
	after, err := a.drained()
	if err != nil {
		return err
	}
	if anew := after.UniqueProcessed - before.UniqueProcessed; anew != again.Accepted-again.Duplicates {
		t.broken("%d events were counted as new, of %d only %d answered as duplicates", anew, again.Accepted, again.Duplicates)
	}
	t.record.Looks = append(t.record.Looks, record.Look{End: record.Shown, Again: &again})
	t.expect(a.stop())
	t.expect(s.check(t.data))
	t.end()
	return nil
}

// publishAgain sends everything acknowledged once more at ack=store, which says how much of it was
// there already.
func (t *trial) publishAgain(a *aggregator) (again record.Again, err error) {
	status, text, err := a.publish(t.acknowledgedBody(), "store")
	if err != nil {
		return again, err
	}
	if status != 200 {
		return again, statusError{status, text}
	}
	var answer struct{ Accepted, Duplicates *uint64 }
	if err := json.Unmarshal(text, &answer); err != nil || answer.Accepted == nil || answer.Duplicates == nil {
		return again, fmt.Errorf("published again: not an answer of ack=store: %.200s", text)
	}
	return record.Again{Accepted: *answer.Accepted, Duplicates: *answer.Duplicates}, nil
}

// statusError is an answer that was not wanted.
type statusError struct {
	status int
	text   []byte
}

func (e statusError) Error() string { return fmt.Sprintf("status %d: %.500s", e.status, e.text) }

// crashedMigrating kills the aggregator while it takes a database of an older version forward.
func crashedMigrating(s *sitting) error {
	dumps, err := filepath.Glob(s.Dumps)
	if err != nil {
		return err
	}
	if len(dumps) == 0 {
		return skip("no databases of older versions (%s)", s.Dumps)
	}
	for _, dump := range dumps {
		if err := s.migrate(dump); err != nil {
			return fmt.Errorf("%s: %w", dump, err)
		}
	}
	return nil
}

func (s *sitting) migrate(dump string) error {
	t, err := s.newTrialOf(stream.Config{}, 1, s.dataFolder(), "store")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(t.data, 0o700); err != nil {
		return err
	}
	if t.record.Given, err = s.restore(dump, t.data); err != nil {
		return err
	}
	t.injected()
	if _, err := s.startCrash([]string{"SEKALI_CRASH=" + crashMigrating + ":1"}, t.data); err == nil || !strings.Contains(err.Error(), "SIGKILL") {
		t.broken("%s: not killed: %v", filepath.Base(dump), err)
	}
	a, err := t.restart()
	if err != nil {
		return err
	}
	if err := t.look(a); err != nil {
		return err
	}
	look := &t.record.Looks[0]
	if n := uint64(len(t.record.Given)); n == 0 || look.Counters.UniqueProcessed != n {
		t.broken("%s: %d events, %d counted", filepath.Base(dump), n, look.Counters.UniqueProcessed)
	}
	look.Counters = nil // they are of what the ledger does not know
	t.expect(a.stop())
	t.expect(s.check(t.data))
	t.end()
	return nil
}

// restore makes the database that a dump is of, and returns the events that it has.
func (s *sitting) restore(dump, data string) (events []record.Event, err error) {
	statements, err := os.ReadFile(dump)
	if err != nil {
		return nil, err
	}
	db, err := s.openDatabase(data)
	if err != nil {
		return nil, err
	}
	if _, err := db.Exec(string(statements)); err != nil {
		return nil, err
	}
	rows, err := db.Query("SELECT topic, event_id, timestamp, source, payload FROM events ORDER BY seq")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var e record.Event
		var source, payload sql.NullString
		if err := rows.Scan(&e.Topic, &e.EventID, &e.Timestamp, &source, &payload); err != nil {
			return nil, err
		}
		e.Source, e.Payload = source.String, cmp.Or(payload.String, "null") // as /events says that there is none
		events = append(events, e)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return events, db.Close()
}
