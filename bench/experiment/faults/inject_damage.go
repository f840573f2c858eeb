package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sekali/bench/record"
)

// damage is a way to change a file that a killed aggregator has left. A promise of it is a valid
// beginning, or a refusal.
type damage struct {
	name, files string
	newest      bool // of the files, the last by name; else any
	change      func([]byte) []byte
	small       bool // the files are of the build with small bounds: many runs and segments
	// backlog: the database is held during the load, so that the journal has what the database has
	// not.
	backlog bool
	// harmless: what is damaged is made again. Otherwise, of 100 times some are refused, noticed or
	// lose something.
	harmless bool
}

// damageKinds are the rows of the catalogue that damage files.
func damageKinds() []Kind {
	var kinds []Kind
	for _, d := range []damage{
		{name: "a cut journal", files: "journal/*.log", newest: true, change: cut, small: true, backlog: true},
		{name: "a flipped bit in the journal", files: "journal/*.log", small: true, backlog: true,
			change: func(b []byte) []byte { flip(written(b)); return b }},
		{name: "a flipped bit in the WAL", files: "events.db-wal", change: flip},
		{name: "a flipped bit in the database", files: "events.db", change: flip, small: true},
		{name: "a flipped bit in a run of keys", files: "dedup/*.run", change: flip, small: true, harmless: true},
	} {
		kinds = append(kinds, Kind{Name: d.name, Injects: "the files of a killed aggregator are changed at a random place: " + d.files,
			Promise: damages, Tells: record.TellsEnds, Short: 4, Long: 100, inject: d.inject})
	}
	return kinds
}

func flip(content []byte) []byte {
	content[rand.IntN(len(content))] ^= 1 << rand.IntN(8)
	return content
}

func cut(b []byte) []byte {
	w := written(b)
	return b[:bytes.Index(b, w)+rand.IntN(len(w))]
}

// payloadBegin is how the payload of every event of the stream begins.
var payloadBegin = []byte(`{"n":`)

// written is the part of a segment from its first event to its last: frames that were written. The
// file may go on behind them.
func written(segment []byte) []byte {
	first, last := bytes.Index(segment, payloadBegin), bytes.LastIndex(segment, payloadBegin)
	if first < 0 {
		return nil
	}
	return segment[first:last]
}

// healsWithin is longer than making a run again takes.
const healsWithin = 3 * time.Second

// inject changes copies of the files of a killed aggregator. It must open them at a valid
// beginning, or refuse with the reason; what it shows must be what was sent, and what is published
// again must be stored once.
func (d damage) inject(s *sitting) error {
	program := s.Aggregator
	if d.small {
		program = s.Crash
	}
	t, err := s.newTrial(s.dataFolder(), everyLevel...)
	if err != nil {
		return err
	}
	if d.backlog {
		t.record.Levels = []string{"journal"}
	}
	if err := d.fill(t, program); err != nil {
		return err
	}
	inspector := &inspector{t: t, program: program}
	if d.harmless {
		inspector.heals = healsWithin
	}
	for range s.times() {
		data, err := s.copyOf(t.data)
		if err != nil {
			return err
		}
		if err := d.damage(data); err != nil {
			return err
		}
		if err := inspector.inspect(data); err != nil {
			return err
		}
		t.injected()
		if err := os.RemoveAll(data); err != nil {
			return err
		}
	}
	d.holdConsequences(t)
	t.end()
	return nil
}

// fill loads an aggregator and kills it; of a backlog it notes what the undamaged files have.
func (d damage) fill(t *trial, program string) error {
	a, err := t.s.launch(program, nil, t.data)
	if err != nil {
		return err
	}
	if d.backlog {
		db, err := t.s.openDatabase(t.data)
		if err != nil {
			return err
		}
		defer db.Close()
		if _, err := db.Exec("BEGIN IMMEDIATE"); err != nil {
			return err
		}
	}
	time.AfterFunc(400*time.Millisecond, a.Kill)
	if err := t.load(a.URL, a.Exited()); err != nil {
		return err
	}
	if t.wasKilled(a); !d.backlog {
		return nil
	}
	data, err := t.s.copyOf(t.data)
	if err != nil {
		return err
	}
	if a, err = t.s.launch(program, nil, data); err != nil {
		return err
	}
	defer a.kill()
	if _, err := a.drained(); err != nil {
		return err
	}
	t.record.Whole, err = a.export(t.stream)
	return err
}

// holdConsequences: harmless damage is all made good; of other damage something is seen, else it
// met nothing that is read. What was acknowledged and is new when it is published again was lost,
// and that is seen too: a WAL ends, by SQLite's rules, before the first page that does not fit.
func (d damage) holdConsequences(t *trial) {
	whole, consequences := uint64(0), 0 // of a backlog, the events that the undamaged files had
	if d.backlog {
		for _, err := range t.record.Whole.Originals() {
			t.expect(err)
			whole++
		}
	}
	for _, look := range t.record.Looks {
		lost := look.Again != nil && look.Again.Duplicates < look.Again.Accepted
		if look.End != record.Shown || lost || d.backlog && look.Counters.UniqueProcessed < whole {
			consequences++
		}
	}
	if d.harmless && consequences > 0 {
		t.broken("%d of %d not opened, and the damage is harmless", consequences, len(t.record.Looks))
	}
	if !d.harmless && consequences == 0 && (d.backlog || !t.s.Short) {
		t.broken("the damage met nothing that is read")
	}
}

// damage changes one of the files below data that have something written.
func (d damage) damage(data string) error {
	files, err := filepath.Glob(filepath.Join(data, d.files))
	if err != nil {
		return err
	}
	files = slices.DeleteFunc(files, func(name string) bool {
		content, err := os.ReadFile(name)
		return err != nil || len(content) == 0 || d.backlog && len(written(content)) == 0
	})
	if len(files) == 0 {
		return fmt.Errorf("no %s: the load was too thin", d.files)
	}
	file := files[rand.IntN(len(files))]
	if d.newest {
		file = slices.Max(files)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return os.WriteFile(file, d.change(content), 0o600)
}

// copyOf copies a data folder.
func (s *sitting) copyOf(whole string) (string, error) {
	data := s.dataFolder()
	return data, os.CopyFS(data, os.DirFS(whole))
}

// inspector looks at damaged files.
type inspector struct {
	t       *trial
	program string
	heals   time.Duration // after which 503 means that the damage stays
}

// inspect starts the aggregator on damaged files, reads everything back, and publishes everything
// again.
func (i *inspector) inspect(data string) error {
	a, err := i.t.s.launch(i.program, nil, data)
	if err != nil {
		reason := strings.Contains(err.Error(), "damaged") || strings.Contains(err.Error(), data)
		if !strings.Contains(err.Error(), "ended before it listened: exit code 1\n") || !reason || strings.Contains(err.Error(), "goroutine ") {
			i.t.broken("not a refusal with its reason: %v", err)
		}
		i.ends(record.Look{End: record.Refused})
		return nil
	}
	defer a.kill()
	look, err := i.read(a)
	if err == nil {
		err = i.publishAgain(a, &look)
	}
	if err != nil {
		look.End = i.noticed(a, err)
	}
	i.ends(look)
	return nil
}

func (i *inspector) ends(look record.Look) { i.t.record.Looks = append(i.t.record.Looks, look) }

// read reads everything back once nothing is queued; the error is how damage is noticed before.
func (i *inspector) read(a *aggregator) (look record.Look, err error) {
	began := time.Now()
	for ; ; time.Sleep(pollPeriod) {
		now, err := a.stats()
		if err == nil {
			_, err = a.get("/readyz", "*/*")
		}
		if err == nil && now.QueueDepth == 0 {
			stored, err := a.export(i.t.stream)
			if err != nil {
				return look, err
			}
			return record.Look{End: record.Shown, Counters: &now, Stored: stored}, nil
		}
		switch {
		case err != nil && time.Since(began) > i.heals:
			return look, err
		case time.Since(began) > drainTimeout:
			return look, fmt.Errorf("not drained, and ready all the same: %+v", now)
		}
	}
}

// publishAgain: what was acknowledged is a duplicate, but for what was lost.
func (i *inspector) publishAgain(a *aggregator, look *record.Look) error {
	var again record.Again
	for end := time.Now().Add(i.heals); ; time.Sleep(pollPeriod) { // as a publisher would
		var err error
		if again, err = i.t.publishAgain(a); err == nil {
			break
		}
		var answer statusError
		if !errors.As(err, &answer) || answer.status != http.StatusServiceUnavailable || time.Now().After(end) {
			return err
		}
	}
	now, err := a.stats()
	if err != nil {
		return err
	}
	again.Counters = &now
	if again.Stored, err = a.export(i.t.stream); err != nil {
		return err
	}
	look.Again = &again
	return nil
}

// noticed is how damage is noticed after the start: an answer 503, or one that is cut off, or the
// end, exit 1 with the reason.
func (i *inspector) noticed(a *aggregator, err error) string {
	var answer statusError
	if errors.As(err, &answer) && answer.status == http.StatusServiceUnavailable || strings.Contains(err.Error(), "503 Service Unavailable") {
		return record.Noticed
	}
	if _, alive := a.get("/livez", "*/*"); alive == nil { // a page is whole or 503, an export ends in the middle
		if !strings.Contains(err.Error(), "EOF") && !strings.Contains(err.Error(), "connection reset") {
			i.t.broken("neither 503 nor cut off: %v", err)
		}
		return record.Noticed
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	exit, wait := a.Wait(ctx)
	if wait != nil || exit.Code != 1 || !a.log.has("damaged") && !a.log.has("events.db") {
		i.t.broken("%v, then %v %v", err, exit, wait)
	}
	return record.EndedLater
}

// changedUnchecked is the control of all damage: what no checksum guards is changed so that every
// counter fits, and the audit must see it.
func changedUnchecked(s *sitting) error {
	t, err := s.newTrial(s.dataFolder(), everyLevel...)
	if err != nil {
		return err
	}
	a, err := s.start(t.data, "-layout", "rows", "-dedup", "table")
	if err != nil {
		return err
	}
	if err := t.loadFor(a.URL, 100*time.Millisecond); err != nil {
		return err
	}
	if err := a.stop(); err != nil {
		return err
	}
	db, err := s.openDatabase(t.data)
	if err != nil {
		return err
	}
	_, err = db.Exec(`UPDATE events SET payload = replace(payload, '"level"', '"Level"') WHERE seq = (SELECT min(seq) FROM events);
		UPDATE events SET (topic, event_id, timestamp, source, payload) =
			(SELECT topic, event_id, timestamp, source, payload FROM events ORDER BY seq DESC LIMIT 1)
			WHERE seq = (SELECT seq FROM events ORDER BY seq LIMIT 1 OFFSET 1);
		UPDATE state SET unique_processed = unique_processed - 1, duplicate_dropped = duplicate_dropped + 1`)
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	t.injected()
	if a, err = s.start(t.data); err != nil {
		return err
	}
	return t.lookAndStop(a)
}
