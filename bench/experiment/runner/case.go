package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"time"

	"sekali/bench/internal/machine"
	"sekali/bench/judge"
	"sekali/bench/record"
	"sekali/bench/scenario"
	"sekali/bench/system/cluster"
	"sekali/bench/system/device"
	"sekali/bench/system/process"
	"sekali/bench/system/wire"
	"sekali/loadgen/attack"
	"sekali/loadgen/ledger"
	"sekali/loadgen/stream"
)

const (
	// logFile is the aggregator's standard error, in the result folder.
	logFile = "aggregator.log"
	// beat is how often the phase, the drain and a terminal are looked at.
	beat = 5 * time.Millisecond
	// drawInterval is how often the progress line is redrawn.
	drawInterval = 200 * time.Millisecond
	// drainTimeout bounds the wait for an empty queue, drainStall the part of it without any commit.
	drainTimeout = 10 * time.Minute
	drainStall   = 60 * time.Second
)

// job is one case of one scenario, once.
type job struct {
	scenario *scenario.Scenario
	settings scenario.Settings
	name     string          // of the case
	point    *scenario.Point // of a sweep; nil: none
	repeat   int             // from 1
	repeats  int
	sitting  record.Sitting
}

// leftOut is the job in the index, where it left no result.
func (j job) leftOut(code string, why error) record.LeftOut {
	return record.LeftOut{Scenario: j.scenario.Name, Case: j.name, Repeat: j.repeat, Code: code, Why: code + ": " + why.Error()}
}

// label names the job for people.
func (j job) label() string {
	text := j.scenario.Name
	if j.name != "" {
		text += "/" + j.name
	}
	if j.repeats > 1 {
		text += fmt.Sprintf(" %d of %d", j.repeat, j.repeats)
	}
	return text
}

// described says which case of which file it is.
func (j job) described() string {
	if j.name == "" {
		return j.scenario.Path
	}
	return "case " + j.name + " of " + j.scenario.Path
}

// folder is the name of the job's result folder.
func (j job) folder() string {
	text := j.scenario.Name
	if j.name != "" {
		text += "-" + j.name
	}
	return fmt.Sprintf("%s-%d", text, j.repeat)
}

// session is one job under way.
type session struct {
	config     *Config
	job        job
	dir        string         // result folder
	data       string         // data folder
	disk       string         // where a disk of its own is mounted to be filled; "": none
	device     *device.Device // that is held to a rate; nil: none
	show       func(state)
	aggregator *aggregator
	replicas   *replicas        // nil: one aggregator alone
	network    *cluster.Network // of the cluster, to be cut; nil: none
	wire       *wire.Wire       // between publishers and the aggregator; nil: the loopback
	stream     *stream.Stream
	base       stats // before the attack
	run        record.Run
	sampler    *sampler
	watch      *watch // from outside, while the load lasts
	readers    *readers
	histograms histograms
	profiles   profiles
	syncs      *process.Syncs // as the kernel sees them; nil: nobody counts
	breaking   sync.WaitGroup // the fault, and the restart after it
}

// execute runs a job and leaves its result folder behind, whole unless it returns an error.
func execute(ctx context.Context, config *Config, job job, runDir string, show func(state)) (record.Run, error) {
	s := &session{config: config, job: job, show: show, dir: filepath.Join(runDir, job.folder()),
		data: filepath.Join(runDir, dataDir, job.folder())}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return s.run, err
	}
	run, err := s.execute(ctx)
	if err != nil && ctx.Err() != nil {
		err = errors.Join(err, os.WriteFile(filepath.Join(s.dir, record.InterruptedFile), []byte("This result was interrupted and is not whole.\n"), 0o644))
	}
	return run, err
}

func (s *session) execute(outer context.Context) (run record.Run, err error) {
	ctx, cancel := context.WithCancelCause(outer)
	defer func() { err = errors.Join(err, s.cleanUp(cancel)) }()
	if err := s.prepare(); err != nil {
		return s.run, err
	}
	log, err := os.Create(filepath.Join(s.dir, logFile))
	if err != nil {
		return s.run, err
	}
	defer log.Close()
	s.status("generator's ceiling", 0)
	if err := s.measureCeiling(ctx, log); err != nil {
		return s.run, cause(ctx, err)
	}
	if err := s.measureYardstick(ctx, log); err != nil {
		return s.run, cause(ctx, err)
	}
	if err := s.begin(ctx, log); err != nil {
		return s.run, err
	}
	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	go s.aggregator.watch(watching, cancel)
	s.replicas.watch(watching, cancel)

	if err := s.load(ctx); err != nil {
		return s.run, cause(ctx, err)
	}
	if err := s.audit(ctx); err != nil {
		return s.run, cause(ctx, err)
	}
	return s.finish()
}

// cleanUp leaves no process behind, whatever happened, and no data folder that nobody asked for. An
// error says that a disk or a network was not given back.
func (s *session) cleanUp(cancel context.CancelCauseFunc) error {
	cancel(nil)
	s.profiles.running.Wait()
	if s.config.Profile {
		pprof.StopCPUProfile()
	}
	s.breaking.Wait()
	s.replicas.kill()
	s.forgetSyncs()
	if s.aggregator != nil {
		if p := s.aggregator.process(); p != nil {
			<-p.Exited()
		}
	}
	err := s.removeDisk()
	if s.network != nil {
		err = errors.Join(err, s.network.Close())
	}
	if s.wire != nil {
		err = errors.Join(err, s.wire.Close())
	}
	if !s.config.KeepData {
		os.RemoveAll(s.data)
	}
	return err
}

// cause prefers why a context ended over the errors that followed from it.
func cause(ctx context.Context, err error) error {
	if why := context.Cause(ctx); why != nil && !errors.Is(why, context.Canceled) {
		return why
	}
	return err
}

// prepare fills what is known of the run before anything is started.
func (s *session) prepare() error {
	config := s.job.settings.Stream
	if s.config.external() {
		// What an earlier run left in a server that goes on would be taken for duplicates.
		config.Seed ^= uint64(time.Now().UnixNano())
	}
	events, err := stream.New(config)
	if err != nil {
		return err
	}
	s.stream = events
	s.run = record.Run{
		Format:  record.Format,
		ID:      s.config.id,
		Sitting: &s.job.sitting,
		Scenario: record.Scenario{Name: s.job.scenario.Name, Case: s.job.name, Repeat: s.job.repeat,
			Question: s.job.scenario.Question, Path: s.job.scenario.Path, Text: string(s.job.scenario.Text)},
		Environment: s.config.environment,
		Aggregator:  record.Aggregator{Ack: s.job.settings.Aggregator.Ack, External: s.config.external(), Flags: []string{}},
		Stream:      events.Config(),
		Load:        loadOf(s.job.settings),
		Readers:     readersOf(s.job.settings),
	}
	if p := s.job.point; p != nil {
		s.run.Scenario.Sweep = &record.Sweep{Parameter: p.Parameter, Value: p.Value, Curve: p.Curve}
	}
	return nil
}

// begin starts the aggregator, or looks at the running one.
func (s *session) begin(ctx context.Context, log *os.File) error {
	s.status("start", 0)
	if s.config.external() {
		s.aggregator = &aggregator{url: s.config.Aggregator, token: s.config.Token, client: newClient()}
	} else {
		if err := errors.Join(s.makeDisk(ctx), s.makeNetwork(ctx)); err != nil {
			return err
		}
		probe, err := machine.ProbeDisk(filepath.Dir(s.data))
		if err != nil {
			return err
		}
		s.run.Environment.Fdatasync = probe
		s.run.Environment.Filesystem = machine.Filesystem(filepath.Dir(s.data))
		s.run.Aggregator.Flags = flagsOf(s.job.settings, s.config.Profile)
		if s.job.settings.Cluster.Nodes > 0 {
			err = s.startCluster(ctx, log)
		} else {
			s.aggregator, err = startAggregator(ctx, s.processConfig(log))
		}
		if err != nil {
			return err
		}
	}
	if err := s.watchSyncs(); err != nil {
		return err
	}
	if err := s.fillCluster(ctx); err != nil {
		return err
	}
	base, err := s.aggregator.stats(ctx, false)
	if err != nil {
		return err
	}
	s.base = base
	s.run.Aggregator.Version, s.run.Environment.Store = base.Version, base.Store
	// As git describes the tree that it was built from.
	s.run.Environment.Dirty = s.run.Environment.Dirty || strings.HasSuffix(base.Version, "-dirty")
	return nil
}

// load attacks the aggregator, breaks it where the scenario says so, and waits until all is
// committed.
func (s *session) load(ctx context.Context) error {
	requests, err := os.Create(filepath.Join(s.dir, record.RequestsFile))
	if err != nil {
		return err
	}
	defer requests.Close()
	attempts := ledger.NewWriter(requests)
	ledgerClosed := false
	defer func() {
		if !ledgerClosed {
			attempts.Close()
		}
	}()
	started := make(chan time.Time, 1)
	load, err := attack.New(s.attackConfig(s.aggregator.url, s.aggregator.token, attempts, func(at time.Time) { started <- at }))
	if err != nil {
		return err
	}

	s.watch = newWatch(s.aggregator, s.base)
	var stalls stallWatch
	s.sampler = &sampler{aggregator: s.aggregator, usage: s.usage, around: lookAround(s.aggregator.pid()), stalls: &stalls, answered: s.watch.claim}
	s.sampler.take(ctx)
	background, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	halt := sync.OnceFunc(func() { stop(); running.Wait() })
	defer halt()
	running.Go(func() { s.sampler.run(background) })
	running.Go(func() { s.watch.run(background) })
	running.Go(func() { stalls.run(background) })
	s.readers = newReaders(s)
	reading, stopReading := context.WithCancel(background)
	defer stopReading()
	measure := func() {
		s.histograms.open(ctx, s.aggregator)
		s.profiles.begin(ctx, s)
		running.Go(func() { s.readers.run(reading) })
	}
	if s.firstMeasured() == 0 {
		measure()
	}
	running.Go(func() { s.followPhases(background, load, measure) })
	var fault *record.FaultTimes
	var faultErr error
	s.breaking.Go(func() { fault, faultErr = s.breakIt(ctx, started) })

	summary, err := load.Run(ctx)
	stopReading()
	ledgerClosed = true
	if err := errors.Join(err, attempts.Close(), requests.Close()); err != nil {
		return err
	}
	s.status("drain", 0)
	if s.breaking.Wait(); faultErr != nil {
		return faultErr
	}
	s.run.Fault = fault
	s.note(summary)
	if err := s.settle(ctx, summary); err != nil {
		return err
	}
	halt()
	s.sampler.take(ctx)
	s.run.Generator.Stalls, s.run.Generator.LongestStallNS = stalls.stalls, stalls.longestNS
	s.run.Surroundings = s.withPageCache(s.sampler.around.record())
	if err := s.profiles.end(ctx, s); err != nil {
		return err
	}
	return s.writeRaw(summary.StartedAt)
}

// withPageCache adds how much of the data folder is in the page cache.
func (s *session) withPageCache(around *record.Surroundings) *record.Surroundings {
	if s.aggregator.external() {
		around.PageCacheUnknown = "the server was running already, and its data folder is not known"
	} else if cached, err := machine.PageCache(s.data); err != nil {
		around.PageCacheUnknown = err.Error()
	} else {
		around.PageCacheBytes = &cached
	}
	return around
}

// settle waits until all is committed, and the machine was watched for long enough.
func (s *session) settle(ctx context.Context, summary attack.Summary) error {
	if err := s.drain(ctx, summary); err != nil {
		return err
	}
	if err := s.histograms.close(ctx, s.aggregator); err != nil {
		return err
	}
	s.lookOn(ctx, summary.StartedAt)
	return nil
}

// writeRaw writes what was seen while the load lasted.
func (s *session) writeRaw(startedAt time.Time) error {
	if err := s.sampler.write(s.dir, startedAt, s.run.Phases); err != nil {
		return err
	}
	if s.run.Readers != nil {
		if err := s.readers.write(s.dir, startedAt); err != nil {
			return err
		}
	}
	return record.WriteHistograms(s.dir, s.histograms.since(startedAt))
}

// note takes what the attack says of itself.
func (s *session) note(summary attack.Summary) {
	s.run.StartedAt = summary.StartedAt
	s.run.Phases = phaseTimes(s.job.settings.Load.Phases, summary)
	s.run.Generator.Connections, s.run.Generator.FirstAnswerNS = summary.Connections.Opened, int64(summary.Connections.Median())
}

func (s *session) attackConfig(url, token string, attempts *ledger.Writer, onStart func(time.Time)) attack.Config {
	load := s.job.settings.Load
	config := attack.Config{
		URL: url, AckLevel: s.job.settings.Aggregator.Ack, Token: token,
		Stream: s.stream, EventsPerRequest: load.EventsPerRequest, Encoding: load.Encoding,
		Retry: attack.DefaultRetry(), Ledger: attempts,
		OnStart: onStart,
	}
	if s.replicas != nil {
		config.Timeout = clusterAnswerTimeout
		if url == s.aggregator.url { // and not the server that only answers
			config.Others = s.replicas.urls()
		}
	}
	if s.wire != nil { // and not for the ceiling, which is measured before
		config.Dial = s.wire.Dial
	}
	config.Light = load.Client == scenario.Light
	if load.Compression != "none" {
		config.Compression = load.Compression
	}
	config.Phases = attackPhases(load.Phases, s.stream.Config().Seed)
	return config
}

func phaseTimes(planned []scenario.Phase, summary attack.Summary) []record.PhaseTimes {
	var phases []record.PhaseTimes
	for i, p := range summary.Phases {
		phases = append(phases, record.PhaseTimes{Name: p.Name, Rate: float64(planned[i].Rate), Arrivals: arrivals(planned[i]), Clients: planned[i].Clients,
			Measured: p.Measured, StartNS: p.StartNS, EndNS: p.EndNS, Planned: p.Planned})
	}
	return phases
}

// firstMeasured is the index of the first measured phase; a scenario has one.
func (s *session) firstMeasured() int {
	return slices.IndexFunc(s.job.settings.Load.Phases, func(p scenario.Phase) bool { return p.Measured })
}

// followPhases calls measure when the first measured phase has begun, unless that is the first of
// all, and shows the progress until ctx ends.
func (s *session) followPhases(ctx context.Context, load *attack.Attack, measure func()) {
	phases, first := s.job.settings.Load.Phases, s.firstMeasured()
	begun := first == 0
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	drawn := time.Now()
	var acknowledged uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := load.Progress()
		if !begun && slices.IndexFunc(phases, func(p scenario.Phase) bool { return p.Name == now.Phase }) >= first {
			begun = true
			measure()
		}
		if since := time.Since(drawn); since >= drawInterval && !now.StartedAt.IsZero() && now.Answered < now.Planned {
			rate := float64(now.AcknowledgedEvents-acknowledged) / since.Seconds()
			drawn, acknowledged = time.Now(), now.AcknowledgedEvents
			s.showAttack(now, rate)
		}
	}
}

// finish writes run.json with the inputs, has the figures computed from the raw files, and judges
// them.
func (s *session) finish() (record.Run, error) {
	if err := record.WriteRun(s.dir, s.run); err != nil {
		return s.run, err
	}
	run, err := judge.Finish(s.dir)
	if err != nil {
		return run, err
	}
	run.Expectations = expectations(s.job.settings.Expect, *run.Audit, run.Summary)
	return run, record.WriteRun(s.dir, run)
}
