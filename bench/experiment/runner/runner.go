// Package runner answers scenarios: for each case a fresh aggregator is started, loaded, broken
// where the scenario says so, watched, audited and written down.
//
//	scenario ─▶ process ─▶ attack ─▶ (fault) ─▶ drain ─▶ audit ─▶ result folder ─▶ expectations
//	               └── sampler: /stats and /proc every 100 ms, until the queue is empty
package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sekali/bench/internal/machine"
	"sekali/bench/judge"
	"sekali/bench/record"
	"sekali/bench/scenario"
)

// Outcome is what runs came to, the worse the later.
type Outcome int

const (
	Held     Outcome = iota // all expectations held, every run valid
	Failed                  // an expectation or the audit failed, or a case could not be run to its end
	NotBegun                // what was asked cannot be run
	Invalid                 // the generator or the machine, not the aggregator, set a figure
)

const (
	// runsDir holds a folder for each run.
	runsDir = "runs"
	// LatestLink, beside runsDir, points at the newest one, and profiledLink at the newest one with
	// profiles: that has other figures, and one case, and must not take the place of a whole run.
	LatestLink   = "latest"
	profiledLink = "latest-profile"
	// dataDir holds the data folders while a run lasts.
	dataDir = ".data"
	// maxSameSecond bounds the search for a free name among runs started in one second.
	maxSameSecond = 100
)

// Config says what to run. Aggregator is a binary that is started for each case, or the URL of a
// running server, which is left running.
type Config struct {
	Scenarios   []*scenario.Scenario
	Repeat      int // at least 1
	Out         string
	Aggregator  string
	Token       string // for a running server; "": none
	AllowRemote bool   // a running server may be elsewhere than on the loopback
	KeepData    bool
	Profile     bool
	CountSyncs  bool   // hold the syncs that the aggregator counts to what strace sees: no figure is worth anything then
	Verbose     bool   // all figures of each case, also where there are many
	Version     string // of the build, as git describes it
	Self        string // program whose null server the generator's ceiling is measured against; "": it is not measured
	// Finished is called with each whole result folder, to make of it what is not measured. May be
	// nil.
	Finished func(dir string) error

	id          string
	environment record.Environment
}

// IsURL says that an aggregator is a running server and not a program.
func IsURL(text string) bool {
	return strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://")
}

func (c *Config) external() bool { return IsURL(c.Aggregator) }

// Run runs every case and returns the folder of the run and what it came to. What goes wrong with
// one case is printed, and the next one goes on.
func Run(ctx context.Context, config Config, stdout, stderr io.Writer) (dir string, outcome Outcome) {
	if err := config.check(); err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return "", NotBegun
	}
	dir, err := config.makeRunDir(time.Now())
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return "", Failed
	}
	config.environment = machine.Read(config.Version)
	if !config.external() {
		machine.AddProgram(&config.environment, config.Aggregator)
	}
	index := record.Index{ID: config.id, StartedAt: time.Now(), Environment: config.environment, Planned: len(config.jobs()), Results: []record.Entry{}}
	end := closing{w: stdout, colours: wantsColour(stdout), dir: dir, pages: config.Finished != nil}
	config.runJobs(ctx, dir, &index, &end, stdout, stderr)
	return dir, config.end(ctx, dir, index, &end, stdout, stderr)
}

// runJobs runs one case after the other, until ctx ends.
func (c *Config) runJobs(ctx context.Context, dir string, index *record.Index, end *closing, stdout, stderr io.Writer) {
	jobs := c.jobs()
	detailed := c.Verbose || len(jobs) <= detailedCases
	lines := newProgress(stderr)
	times := newEstimate(jobs)
	defer lines.keep(times.left)()
	for i, job := range jobs {
		// A SIGKILL leaves what there is so far. The last of it is written by end, which says more.
		if err := record.WriteIndex(dir, *index); err != nil {
			fmt.Fprintf(stderr, "bench: %v\n", err)
		}
		times.begin(i, time.Now())
		if why := cmp.Or(cannotBreak(job.settings.Fault), cannotHold(job.settings.Disk), cannotReach(job.settings.Network), c.cannotCluster(job.settings)); why != nil {
			index.LeftOut = append(index.LeftOut, job.leftOut(record.LeftSkipped, why))
			end.add(done{job: job, conclusion: skipped, why: why.Error()})
			fmt.Fprintf(stdout, "skipped: %s: %v\n", job.label(), why)
			continue
		}
		label := fmt.Sprintf("%d/%d %s", i+1, len(jobs), job.label())
		run, err := execute(ctx, c, job, dir, func(s state) {
			now := time.Now()
			s.label, s.left = label, times.left(now)
			lines.show(now, s)
		})
		lines.clear()
		if err == nil && c.Finished != nil {
			err = c.Finished(filepath.Join(dir, job.folder()))
		}
		if err != nil && ctx.Err() != nil {
			return
		}
		times.finish(time.Now())
		if err != nil {
			index.LeftOut = append(index.LeftOut, job.leftOut(record.LeftFailed, err))
			end.add(done{job: job, conclusion: failed, why: err.Error()})
			fmt.Fprintf(stdout, "FAILED %s: %v\n", job.label(), err)
			continue
		}
		printRun(stdout, job, run, detailed)
		end.add(done{job: job, conclusion: conclude(run), run: &run})
		index.Environment = run.Environment // with the disk's and the store's part
		index.Results = append(index.Results, record.Entry{Dir: job.folder(), Scenario: job.scenario.Name, Case: job.name, Repeat: job.repeat,
			Valid: run.Validity.Valid, Held: run.Held(), Clean: judge.Clean(run.Audit)})
	}
}

// end writes the index and the link to the newest run, and says how it all came out.
func (c *Config) end(ctx context.Context, dir string, index record.Index, closing *closing, stdout, stderr io.Writer) Outcome {
	interrupted := ctx.Err() != nil
	if !interrupted {
		index.FinishedAt = time.Now()
	}
	err := record.WriteIndex(dir, index)
	if !c.KeepData {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, dataDir)))
	}
	closing.print()
	if interrupted {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, record.InterruptedFile), []byte("This run was interrupted and is not whole.\n"), 0o644))
		fmt.Fprintf(stdout, "interrupted; what there is: %s\n", dir)
	} else {
		err = errors.Join(err, c.linkLatest(dir))
		fmt.Fprintf(stdout, "results: %d, in %s, after %s\n", len(index.Results), dir, index.FinishedAt.Sub(index.StartedAt).Round(time.Second))
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
	}
	if err != nil || interrupted {
		return Failed
	}
	return closing.outcome()
}

func (c *Config) check() error {
	if len(c.Scenarios) == 0 {
		return errors.New("no scenario to run")
	}
	if c.Repeat < 1 {
		return fmt.Errorf("-repeat must be at least 1, not %d", c.Repeat)
	}
	if err := c.checkFolders(); err != nil {
		return err
	}
	if !c.external() {
		info, err := os.Stat(c.Aggregator)
		if err != nil || info.IsDir() {
			return fmt.Errorf("-aggregator %s is neither a program nor a URL (make build builds bin/aggregator)", c.Aggregator)
		}
		return nil
	}
	if err := c.checkURL(); err != nil {
		return err
	}
	if c.Profile {
		return errors.New("a server that is running already cannot be profiled: its admin address is not known")
	}
	for _, s := range c.Scenarios {
		for _, one := range s.Cases {
			if one.Settings.Fault.Kind != scenario.NoFault {
				return fmt.Errorf("%s: fault: a server that is running already is left running", s.Path)
			}
			if one.Settings.Disk != (scenario.Disk{}) {
				return fmt.Errorf("%s: disk: a server that is running already has its own", s.Path)
			}
			if one.Settings.Network != (scenario.Network{}) {
				return fmt.Errorf("%s: network: a server that is running already listens where it is", s.Path)
			}
		}
	}
	return nil
}

// checkFolders refuses two cases whose results would lie in one folder.
func (c *Config) checkFolders() error {
	taken := map[string]job{}
	for _, one := range c.jobs() {
		other, twice := taken[one.folder()]
		if twice {
			return fmt.Errorf("%s and %s would have one result folder, %s: give one of them another name, or ask for it once",
				other.described(), one.described(), one.folder())
		}
		taken[one.folder()] = one
	}
	return nil
}

// checkURL keeps the load on this machine unless told otherwise.
func (c *Config) checkURL() error {
	target, err := url.Parse(c.Aggregator)
	if err != nil || target.Hostname() == "" {
		return fmt.Errorf("-aggregator %s is not a URL", c.Aggregator)
	}
	ip := net.ParseIP(target.Hostname())
	if c.AllowRemote || target.Hostname() == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("-aggregator %s is not on the loopback; -allow-remote says that it may be loaded", c.Aggregator)
}

// makeRunDir makes a folder named by the time, and by a number too if there is one of that second
// already.
func (c *Config) makeRunDir(now time.Time) (string, error) {
	runs := filepath.Join(c.Out, runsDir)
	if err := os.MkdirAll(runs, 0o755); err != nil {
		return "", err
	}
	name := now.UTC().Format(record.IDLayout)
	for n := range maxSameSecond {
		c.id = name
		if n > 0 {
			c.id = fmt.Sprintf("%s-%d", name, n+1)
		}
		err := os.Mkdir(filepath.Join(runs, c.id), 0o755)
		if err == nil {
			return filepath.Join(runs, c.id), nil
		}
		if !os.IsExist(err) {
			return "", err
		}
	}
	return "", fmt.Errorf("%s: %d runs in this second already", runs, maxSameSecond)
}

// linkLatest replaces the link in one step.
func (c *Config) linkLatest(dir string) error {
	link := filepath.Join(c.Out, LatestLink)
	if c.Profile {
		link = filepath.Join(c.Out, profiledLink)
	}
	fresh := link + ".new"
	if err := os.Remove(fresh); err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := os.Symlink(filepath.Join(runsDir, filepath.Base(dir)), fresh); err != nil {
		return err
	}
	return os.Rename(fresh, link)
}

func (c *Config) jobs() []job {
	var jobs []job
	for repeat := range c.Repeat {
		for _, s := range c.Scenarios {
			for _, one := range s.Cases {
				jobs = append(jobs, job{scenario: s, settings: one.Settings, name: one.Name, point: one.Point, repeat: repeat + 1, repeats: c.Repeat})
			}
		}
	}
	for i := range jobs {
		jobs[i].sitting = record.Sitting{Number: i + 1, Of: len(jobs)}
	}
	return jobs
}
