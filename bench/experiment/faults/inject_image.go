package faults

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"sekali/bench/record"
	"sekali/bench/system/crashimage"
	"sekali/bench/system/process"
	"sekali/loadgen/ledger"
)

const (
	// recordedRequests are acknowledged before a recorded aggregator is killed.
	recordedRequests = 120
	// recordWait bounds how long that may take while strace looks on.
	recordWait = 30 * time.Second
	// mostLives bounds how often an aggregator is started until a sync of it fails: strace counts the
	// syncs of each thread by itself.
	mostLives = 5
	// endWait is how long after an answer that did not come an aggregator that is ending may take.
	endWait = 200 * time.Millisecond
	// beginning is how many calls a start takes: it is short beside its load, and half of all cuts are
	// to meet it.
	beginning = 80
	// checkedOneIn is how many images have one that is checked by the program too.
	checkedOneIn = 10
)

// imageKinds are the rows of the catalogue in which the power is cut behind any system call of a
// recorded run. Each image that is made of it is a trial of its own: what publishers had heard by
// then is its ledger.
func imageKinds() []Kind {
	return []Kind{
		{Name: "image: power cut", Injects: "any disk that a power cut at any call of a run could leave: what was synced, and of the rest any part, torn and in any order",
			Promise: nothingLost, Short: 20, Long: 400, inject: images(oneLife, crashimage.Rules{})},
		{Name: "image: power cut, files' syncs ignored", Injects: "the same of a disk that does nothing when a file is synced",
			Promise: control, Short: 10, Long: 50, inject: images(oneLife, crashimage.Rules{NoDataSync: true})},
		{Name: "image: power cut, folders' syncs ignored", Injects: "the same of a disk that does nothing when a folder is synced",
			Promise: control, Short: 10, Long: 50, inject: images(oneLife, crashimage.Rules{NoFolderSync: true})},
		{Name: "image: killed before a sync, then power cut", Injects: "a kill leaves what only memory has; the next start builds on it, and then the power is cut",
			Promise: nothingLost, Short: 20, Long: 500, inject: images(killedBeforeASync, crashimage.Rules{})},
		{Name: "image: failed syncs, then power cut", Injects: "some syncs fail, and what they did not write counts as clean; the aggregator goes on, also after a kill, and then the power is cut",
			Promise: nothingLost, Short: 20, Long: 500, inject: imagesOfFailedSyncs},
	}
}

// recording is what the disk and the publishers saw of the lives of one data folder.
type recording struct {
	*trial // of which no look is taken: its images are the trials
	trace  *crashimage.Trace
}

// life is one run of the aggregator on the recorded folder.
type life struct {
	inject   string        // what strace does to its syncs
	fsync    bool          // those of SQLite are fsync
	idle     time.Duration // before the load
	requests int           // after which it is killed …
	linger   time.Duration // … so long
}

// lives records the n-th folder of a kind, and returns the first call behind which its power may be
// cut.
type lives func(r *recording, n int) (from int, err error)

func oneLife(r *recording, _ int) (from int, err error) {
	return 0, r.live(life{requests: recordedRequests})
}

// killedBeforeASync: half of them die at the entry of any sync. The others are killed while a slow
// sync of the WAL, by fsync, lets the journal, which has fdatasync, run ahead by segments: the next
// start may give back those that the unsynced commit has applied.
func killedBeforeASync(r *recording, n int) (from int, err error) {
	first := life{requests: 10 * recordedRequests, inject: fmt.Sprint("fsync,fdatasync:signal=KILL:when=", 15+rand.IntN(60))}
	if n%2 == 0 {
		first = life{requests: 60 + rand.IntN(20), linger: time.Duration(rand.IntN(600)) * time.Millisecond, inject: "fsync:delay_enter=100000", fsync: true}
	}
	if err := r.live(first); err != nil && !errors.As(err, &notStarted{}) { // the sync may be the start's own
		return 0, err
	}
	from = len(r.trace.Ops)
	return from, r.live(life{idle: 300 * time.Millisecond, requests: 20})
}

// imagesOfFailedSyncs: some syncs fail, and Linux counts what they lost as clean.
func imagesOfFailedSyncs(s *sitting) error {
	failed := 0
	err := images(func(r *recording, _ int) (from int, err error) {
		for range mostLives {
			inject := fmt.Sprintf("fsync,fdatasync:error=EIO:when=%d+%d", 15+rand.IntN(10), 4+rand.IntN(6))
			err := r.live(life{requests: recordedRequests, inject: inject})
			if err != nil && !errors.As(err, &notStarted{}) {
				return 0, err
			}
			if failed += r.trace.FailedSyncs(); r.trace.FailedSyncs() > 0 {
				return 0, r.live(life{requests: 20})
			}
		}
		return 0, fmt.Errorf("no sync failed in %d lives", mostLives)
	}, crashimage.Rules{})(s)
	s.record.Note = fmt.Sprintf("%d syncs failed", failed)
	return err
}

// images records folders and makes images of each, until there are enough.
func images(lives lives, rules crashimage.Rules) func(s *sitting) error {
	return func(s *sitting) error {
		ofOne := 50
		if s.Short {
			ofOne = 20
		}
		for n, made := 0, 0; made < s.times(); n++ {
			r, err := s.newRecording()
			if err != nil {
				return err
			}
			from, err := lives(r, n)
			if err != nil {
				return err
			}
			for i := 0; i < ofOne && made < s.times(); i++ {
				if err := r.image(from, rules, i%checkedOneIn == 0); err != nil {
					return err
				}
				made++
			}
			if err := os.RemoveAll(r.data); err != nil {
				return err
			}
		}
		return nil
	}
}

func (s *sitting) newRecording() (*recording, error) {
	if _, err := exec.LookPath("strace"); err != nil {
		return nil, skip("strace is not installed")
	}
	t, err := s.newTrial(s.dataFolder(), everyLevel...)
	if err != nil {
		return nil, err
	}
	t.attempts = map[int]ledger.Attempt{}
	return &recording{t, crashimage.NewTrace(t.data)}, nil
}

// notStarted is a life that ended before the aggregator listened.
type notStarted struct{ error }

// live records a life, from the start to the kill.
func (r *recording) live(l life) error {
	dir, err := r.s.folder()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "trace")
	var environ []string
	if l.fsync {
		environ = append(environ, "SEKALI_FSYNC=1")
	}
	a, failed := r.s.run(process.Config{Under: crashimage.Under(out, l.inject), Binary: r.s.Crash, Data: r.data, Environ: environ})
	ended := failed
	if failed == nil {
		r.s.sleep(l.idle)
		err = r.loadUntil(a, l.requests)
		r.s.sleep(l.linger)
		ended = a.Ended()
		a.kill()
	}
	if err != nil {
		return err
	}
	if info, err := os.Stat(out); err != nil || info.Size() == 0 {
		return skip("strace cannot trace here: %v", failed)
	}
	file, err := os.Open(out)
	if err != nil {
		return err
	}
	defer file.Close()
	before := r.trace.FailedSyncs()
	if err := r.trace.Read(file); err != nil {
		return err
	}
	if ended != nil && !l.ends(ended, failed != nil && r.trace.FailedSyncs() > before) {
		return itself(ended)
	}
	if failed != nil {
		return notStarted{failed}
	}
	return r.holdTrace()
}

// ends says that a life was to end so: by the kill at a sync, or, in its start, by one that failed.
// From then on the aggregator goes on without a sync.
func (l life) ends(ended error, syncFailed bool) bool {
	var how process.EndedError
	if !errors.As(ended, &how) {
		return false
	}
	return strings.Contains(l.inject, "signal=KILL") && how.Exit.Signal == "SIGKILL" || syncFailed && how.Exit.Code == 1
}

// itself is the error of an aggregator that no fault has ended.
func itself(ended error) error {
	var how process.EndedError
	if !errors.As(ended, &how) {
		return ended
	}
	return fmt.Errorf("the aggregator ended by itself: %s%s", how.Exit, how.Words)
}

// loadUntil loads the aggregator until so many requests more are acknowledged, or it is gone.
func (r *recording) loadUntil(a *aggregator, requests int) error {
	enough, ended := r.acknowledged()+requests, make(chan struct{})
	go func() {
		defer close(ended)
		for end := time.Now().Add(recordWait); time.Now().Before(end) && r.acknowledged() < enough; {
			select {
			case <-a.Exited():
				return
			case <-time.After(pollPeriod):
			}
		}
	}()
	return r.load(a.URL, ended)
}

// holdTrace: each answer that a publisher had is in the trace. Else a cut behind it would ask for
// too little.
func (r *recording) holdTrace() error {
	for number, a := range r.attempts {
		if _, answered := r.trace.Reached(number, len(r.trace.Ops)); !answered && a.Outcome() == ledger.Acknowledged {
			return fmt.Errorf("the trace has no answer to request %d, which was acknowledged", a.Request)
		}
	}
	return nil
}

// cutAt is the trial of an image: its ledger has what publishers had sent and heard when the power
// was cut.
func (r *recording) cutAt(cut int, data string) *trial {
	t := &trial{s: r.s, data: data, stream: r.stream, ledger: ledger.NewDigester()}
	t.record = record.Trial{Stream: r.record.Stream, EventsPerRequest: r.record.EventsPerRequest, Levels: r.record.Levels,
		RecoveryMS: []float64{}, Looks: []record.Look{}}
	for number := range r.sent {
		a, noted := r.attempts[number]
		asked, answered := r.trace.Reached(number, cut)
		switch {
		case !noted || !asked:
			continue
		case !answered:
			a = ledger.Attempt{Request: a.Request, Attempt: a.Attempt, Phase: a.Phase, Cause: ledger.CauseEOF}
		}
		t.ledger.Add(a)
	}
	return t
}

// image makes an image, starts the aggregator on it, and looks at what it has.
func (r *recording) image(from int, rules crashimage.Rules, check bool) error {
	random := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	span := len(r.trace.Ops) - from + 1
	if random.IntN(2) == 0 {
		span = min(span, beginning)
	}
	cut := from + random.IntN(span)
	dir, err := r.s.folder()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	t := r.cutAt(cut, filepath.Join(dir, "data"))
	if err := os.Mkdir(t.data, 0o700); err != nil {
		return err
	}
	if err := r.trace.Write(t.data, cut, rules, random); err != nil {
		return err
	}
	t.injected()
	if end, err := t.lookAtImage(check); err != nil {
		t.record.Looks = append(t.record.Looks, record.Look{End: end})
		if !r.s.kind.Control() {
			t.broken("power cut before call %d of %d: %v", cut, len(r.trace.Ops), err)
		}
	}
	t.end()
	return r.s.ctx.Err()
}

// lookAtImage starts the aggregator on an image. The error says why it shows nothing, and the end
// when it said so: all that was acknowledged is lost then.
func (t *trial) lookAtImage(check bool) (end string, err error) {
	began := time.Now()
	a, err := t.s.startCrash(nil, t.data)
	if err != nil {
		return record.Refused, err
	}
	defer a.kill()
	t.record.RecoveryMS = append(t.record.RecoveryMS, milliseconds(time.Since(began)))
	if err := t.look(a); err != nil {
		select { // its connections may end before it does
		case <-a.Exited():
			err = errors.Join(err, itself(a.Ended()))
		case <-time.After(endWait):
		}
		return record.Noticed, err
	}
	if check && !t.s.kind.Control() {
		t.expect(a.stop())
		t.expect(t.s.check(t.data))
	}
	return record.Shown, nil
}
