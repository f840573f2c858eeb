package integration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sekali/bench/result"
)

// damage is a way to change a file that a killed aggregator has left.
type damage struct {
	name, files string
	newest      bool // of the files, the last by name; else any
	change      func([]byte) []byte
	program     string // that made the files
	// backlog: the database is held during the load, so that the journal has what the database has not.
	backlog bool
	// harmless: what is damaged is made again. Otherwise, of 100 times some are refused, noticed or lose something.
	harmless bool
}

// TestFaultDamage changes the files of a killed aggregator. It must open them at a valid beginning, or refuse with the reason; what it
// shows must be what was sent, and what is published again must be stored once.
func TestFaultDamage(t *testing.T) {
	small, err := crashBinary() // its small bounds make many runs and segments; and a WAL of which most is in the database already
	if err != nil {
		t.Fatal(err)
	}
	flip := func(content []byte) []byte {
		content[rand.IntN(len(content))] ^= 1 << rand.IntN(8)
		return content
	}
	cut := func(b []byte) []byte {
		w := written(b)
		return b[:bytes.Index(b, w)+rand.IntN(len(w))]
	}
	for _, d := range []damage{
		{name: "a cut journal", files: "journal/*.log", newest: true, change: cut, program: small, backlog: true},
		{name: "a flipped bit in the journal", files: "journal/*.log", change: func(b []byte) []byte { flip(written(b)); return b }, program: small, backlog: true},
		{name: "a flipped bit in the WAL", files: "events.db-wal", change: flip, program: binary},
		{name: "a flipped bit in the database", files: "events.db", change: flip, program: small},
		{name: "a flipped bit in a run of keys", files: "dedup/*.run", change: flip, program: small, harmless: true},
	} {
		t.Run(d.name, func(t *testing.T) { damaged(t, d) })
	}
}

// TestFaultDamageUnchecked is its control: what no checksum guards is changed so that every counter fits, and the audit must see it.
func TestFaultDamageUnchecked(t *testing.T) {
	f := result.Fault{Fault: "events changed where no checksum is", Promise: result.SomethingLost, Times: 1}
	data := dataFolder(t)
	p := newPool(data)
	a := start(t, data, "-layout", "rows", "-dedup", "table")
	p.loadFor(t, a.URL, 100*time.Millisecond)
	a.stop(t)
	change(t, data, `UPDATE events SET payload = '{}' WHERE seq = (SELECT min(seq) FROM events);
		UPDATE events SET (topic, event_id, timestamp, source, payload) =
			(SELECT topic, event_id, timestamp, source, payload FROM events ORDER BY seq DESC LIMIT 1)
			WHERE seq = (SELECT seq FROM events ORDER BY seq LIMIT 1 OFFSET 1);
		UPDATE state SET unique_processed = unique_processed - 1, duplicate_dropped = duplicate_dropped + 1`)
	a = start(t, data)
	p.audit(t, a, &f)
	if f.Lost != 1 || f.Duplicated != 1 || f.Unexpected != 1 {
		t.Errorf("one was lost, one stored twice, one changed; the audit saw %+v", f)
	}
	f.Seen = "seen: 1 lost, 1 stored twice, 1 changed"
	record(t, f)
}

// written is the part of a segment from its first event to its last: frames that were written. The file may go on behind them.
func written(segment []byte) []byte {
	first, last := bytes.Index(segment, []byte("event-")), bytes.LastIndex(segment, []byte("event-"))
	if first < 0 {
		return nil
	}
	return segment[first:last]
}

func damaged(t *testing.T, d damage) {
	f := result.Fault{Fault: d.name, Promise: result.PrefixOrRefuse, Times: times(4, 100)}
	whole := dataFolder(t)
	p := newPool(whole)
	a, err := startWith(t, d.program, nil, whole)
	if err != nil {
		t.Fatal(err)
	}
	if d.backlog {
		p.acks = []string{"journal"}
		db := openDatabase(t, whole)
		defer db.Close()
		if _, err := db.Exec("BEGIN IMMEDIATE"); err != nil {
			t.Fatal(err)
		}
	}
	time.AfterFunc(400*time.Millisecond, a.kill)
	p.load(t, a.URL, a.Exited())
	look := &look{program: d.program, pool: p, fault: &f, again: p.acknowledgedBody()}
	if d.harmless {
		look.heals = healsWithin
	}
	if d.backlog {
		data := copyOf(t, whole)
		if a, err = startWith(t, d.program, nil, data); err != nil {
			t.Fatal(err)
		}
		a.drained(t)
		look.undamaged = a.export(t)
		a.kill()
	}
	ends := map[string]int{}
	for range f.Times {
		data := copyOf(t, whole)
		file := d.pick(t, data)
		content, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(file, d.change(content), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		ends[look.at(t, data)]++
		if err := os.RemoveAll(data); err != nil {
			t.Fatal(err)
		}
	}
	f.Seen = fmt.Sprintf("%d opened, %d refused at the start, %d noticed when read or written, %d ended later", ends[shown], ends[refused], ends[noticed], ends[endedLater])
	consequences := f.Times - ends[shown] + f.Lost
	if d.harmless && consequences > 0 {
		t.Errorf("%s, %d lost: want all opened", f.Seen, f.Lost)
	}
	if !d.harmless && consequences == 0 && (d.backlog || faultsDir != "") {
		t.Errorf("%s, and nothing lost: the damage met nothing that is read", f.Seen)
	}
	record(t, f)
}

// copyOf copies a data folder.
func copyOf(t *testing.T, whole string) string {
	t.Helper()
	data := dataFolder(t)
	if err := os.CopyFS(data, os.DirFS(whole)); err != nil {
		t.Fatal(err)
	}
	return data
}

// pick returns one of the damage's files that have something written.
func (d damage) pick(t *testing.T, data string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(data, d.files))
	if err != nil {
		t.Fatal(err)
	}
	files = slices.DeleteFunc(files, func(name string) bool {
		content, err := os.ReadFile(name)
		return err != nil || len(content) == 0 || d.backlog && len(written(content)) == 0
	})
	if len(files) == 0 {
		t.Fatalf("no %s: the load was too thin", d.files)
	}
	if d.newest {
		return slices.Max(files)
	}
	return files[rand.IntN(len(files))]
}

// acknowledgedBody is all that was acknowledged, as one request.
func (p *publisherPool) acknowledgedBody() []byte {
	var events []event
	for request := range p.next {
		if p.acknowledged[request] > 0 {
			for n := range eventsPerRequest {
				events = append(events, eventOf(originalOf(request*eventsPerRequest+n)))
			}
		}
	}
	body, err := json.Marshal(events)
	if err != nil {
		panic(err) // as in arrayOf
	}
	return body
}

// The ends of an aggregator on damaged files: it does not start, it says so when it reads or writes, it gives up, or it shows what it has.
const (
	refused    = "refused"
	noticed    = "noticed"
	endedLater = "ended later"
	shown      = "shown"
)

// look is how damaged files are looked at.
type look struct {
	program   string
	pool      *publisherPool
	fault     *result.Fault
	undamaged []byte        // all that was stored, of which what is shown must be the beginning; nil: not known
	again     []byte        // all that was acknowledged
	heals     time.Duration // after which 503 means that the damage stays
}

// at starts the aggregator on damaged files, reads everything back, and publishes everything again.
func (l *look) at(t *testing.T, data string) string {
	t.Helper()
	a, err := startWith(t, l.program, nil, data)
	if err != nil {
		reason := strings.Contains(err.Error(), "damaged") || strings.Contains(err.Error(), data)
		if !strings.Contains(err.Error(), "ended before it listened: exit code 1\n") || !reason || strings.Contains(err.Error(), "goroutine ") {
			t.Errorf("not a refusal with its reason: %v", err)
		}
		return refused
	}
	defer a.kill()
	if err := l.drained(t, a); err != nil {
		return a.noticed(t, err)
	}
	export, err := a.get("/events", "application/x-ndjson")
	if err != nil {
		return a.noticed(t, err)
	}
	if l.undamaged != nil && !bytes.HasPrefix(l.undamaged, export) {
		t.Errorf("%d bytes of events are not the beginning of the %d that were stored", len(export), len(l.undamaged))
	}
	l.pool.audit(t, a, l.fault)
	return l.publishAgain(t, a, export)
}

// drained waits until nothing is queued; the error is how damage is noticed before.
func (l *look) drained(t *testing.T, a *aggregator) error {
	began := time.Now()
	for ; ; time.Sleep(samplePeriod) {
		now, err := a.stats()
		if err == nil {
			_, err = a.get("/readyz", "*/*")
		}
		switch {
		case err == nil && now.Queue == 0:
			return nil
		case err != nil && time.Since(began) > l.heals:
			return err
		case time.Since(began) > drainTimeout:
			t.Errorf("not drained, and ready all the same: %+v", now)
			return nil
		}
	}
}

// healsWithin is longer than making a run again takes.
const healsWithin = 3 * time.Second

// publishAgain: what was acknowledged is a duplicate, but for what was lost.
func (l *look) publishAgain(t *testing.T, a *aggregator, before []byte) string {
	all := newStored()
	if err := all.read(before); err != nil {
		return shown // the audit has said so
	}
	for request := range l.pool.acknowledged {
		for _, original := range originalsOf(request) {
			all.originals[original] = true
		}
	}
	for end := time.Now().Add(l.heals); ; time.Sleep(samplePeriod) { // as a publisher would
		status, text, err := a.publish(l.again, "store")
		if err == nil && status == http.StatusOK {
			break
		}
		if err == nil {
			err = fmt.Errorf("%d %s: %s", status, http.StatusText(status), text)
		}
		if status != http.StatusServiceUnavailable || time.Now().After(end) {
			return a.noticed(t, err)
		}
	}
	now, err := a.stats()
	var export []byte
	if err == nil {
		export, err = a.get("/events", "application/x-ndjson")
	}
	if err != nil {
		return a.noticed(t, err)
	}
	after := newStored()
	if err := after.read(export); err != nil || now.Unique != len(all.originals) || len(after.originals) != now.Unique {
		t.Errorf("published again: %d events, %+v, want %d; %v", len(after.originals), now, len(all.originals), err)
	}
	return shown
}

// noticed is how damage is noticed after the start: an answer 503, or one that is cut off, or the end, exit 1 with the reason.
func (a *aggregator) noticed(t *testing.T, err error) string {
	t.Helper()
	if strings.Contains(err.Error(), "503 Service Unavailable") {
		return noticed
	}
	if _, alive := a.get("/livez", "*/*"); alive == nil { // a page is whole or 503, an export ends in the middle
		if !strings.Contains(err.Error(), "EOF") && !strings.Contains(err.Error(), "connection reset") {
			t.Errorf("neither 503 nor cut off: %v", err)
		}
		return noticed
	}
	ctx, cancel := context.WithTimeout(t.Context(), stopTimeout)
	defer cancel()
	if exit, wait := a.Wait(ctx); wait != nil || exit.Code != 1 || !strings.Contains(a.log.String(), "damaged") && !strings.Contains(a.log.String(), "events.db") {
		t.Errorf("%v, then %v %v", err, exit, wait)
	}
	return endedLater
}
