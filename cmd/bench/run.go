package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sekali/bench/experiment/runner"
	"sekali/bench/pages/report"
	"sekali/bench/scenario"
	"sekali/scenarios"
)

// runFlags are shared by run, profile and ab.
type runFlags struct {
	scenarios []string
	from      string // run.json to replay; "": none
	tokenFile string
	config    runner.Config
	note      string // for people, before the run; "": none
}

// bind declares what all of them have. Which scenarios none given is, and what -out gets, each says
// itself.
func (f *runFlags) bind(flags *flag.FlagSet, none, gets string) {
	flags.Func("scenario", "a scenario's `file` or name; may be given again"+none, func(value string) error {
		f.scenarios = append(f.scenarios, value)
		return nil
	})
	flags.StringVar(&f.config.Out, "out", "results", "`folder` that gets "+gets)
	flags.BoolVar(&f.config.Verbose, "v", false, "print all figures of each case, also where there are many")
	flags.BoolVar(&f.config.KeepData, "keep-data", false, "keep the data folders")
}

// bindServer declares what only a running server needs.
func (f *runFlags) bindServer(flags *flag.FlagSet) {
	flags.StringVar(&f.tokenFile, "token-file", "", "`file` of the running server's bearer token")
	flags.BoolVar(&f.config.AllowRemote, "allow-remote", false, "allow a server that is not on the loopback")
}

// load reads the scenarios and the token.
func (f *runFlags) load() error {
	f.config.Self = self
	if f.tokenFile != "" {
		token, err := os.ReadFile(f.tokenFile)
		if err != nil {
			return err
		}
		f.config.Token = strings.TrimSpace(string(token))
	}
	if f.from != "" {
		return f.replay()
	}
	all := len(f.scenarios) == 0
	files := f.scenarios
	if all {
		files = scenarioNames()
	}
	for _, file := range files {
		s, err := readScenario(file)
		if err != nil {
			return err
		}
		if !all || !s.Long() {
			f.config.Scenarios = append(f.config.Scenarios, s)
		}
	}
	return nil
}

// scenariosDir is where scenarios lie in a checkout. Elsewhere bench has its own copy of them.
const scenariosDir = "scenarios"

// scenarioNames are those of the checkout's scenarios, or else of bench's own.
func scenarioNames() []string {
	files, _ := filepath.Glob(filepath.Join(scenariosDir, "*.yaml")) // the pattern is well formed
	if len(files) == 0 {
		files, _ = fs.Glob(scenarios.Files, "*.yaml")
	}
	var names []string
	for _, file := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(file), ".yaml"))
	}
	slices.Sort(names)
	return names
}

// readScenario reads a scenario by its file, or by its name.
func readScenario(file string) (*scenario.Scenario, error) {
	if strings.ContainsAny(file, "/.") {
		return scenario.Read(file)
	}
	path := filepath.Join(scenariosDir, file+".yaml")
	s, err := scenario.Read(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	if text, err := scenarios.Files.ReadFile(file + ".yaml"); err == nil {
		return scenario.Parse(path, text)
	}
	return nil, fmt.Errorf("there is no scenario %q; there is %s", file, strings.Join(scenarioNames(), ", "))
}

// replay takes everything that is run from a run.json.
func (f *runFlags) replay() error {
	if len(f.scenarios) > 0 {
		return errors.New("-from has its scenario, and goes without -scenario")
	}
	recorded, err := f.config.Replay(f.from)
	if err == nil && recorded.Aggregator.Version != version {
		f.note = fmt.Sprintf("recorded with version %s, replayed with %s", recorded.Aggregator.Version, version)
	}
	return err
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	_, exit := runScenarios(ctx, "run", false, args, stdout, stderr)
	return exit
}

func runScenarios(ctx context.Context, name string, profiled bool, args []string, stdout, stderr io.Writer) (dir string, exit int) {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	f := runFlags{}
	program, link := "`program` to start for each case", "latest-profile"
	if !profiled {
		program, link = program+", or URL of a running server, which is left running", "latest"
	}
	f.bind(flags, " (default all of scenarios/ not tagged long)", "runs/<run> and the link "+link)
	flags.IntVar(&f.config.Repeat, "repeat", 1, "how often to run each case")
	flags.StringVar(&f.config.Aggregator, "aggregator", "bin/aggregator", program)
	f.config.Profile, f.config.Version, f.config.Finished = profiled, version, report.WritePage
	if !profiled { // a server that runs already cannot be profiled
		f.bindServer(flags)
		flags.StringVar(&f.from, "from", "", "`run.json` of a result, to be run again exactly as it was planned")
	}
	if exit, ok := parse(flags, args, "", 0); !ok {
		return "", exit
	}
	if err := f.load(); err != nil {
		fmt.Fprintf(stderr, "bench %s: %v\n", name, err)
		return "", exitUsage
	}
	if f.note != "" {
		fmt.Fprintln(stdout, f.note)
	}
	dir, outcome := runner.Run(ctx, f.config, stdout, stderr)
	exit = exitOf(outcome)
	if dir == "" || ctx.Err() != nil {
		return dir, exit
	}
	curves, err := report.WriteCurves(dir, nil)
	if err != nil {
		fmt.Fprintf(stderr, "bench %s: %v\n", name, err)
		return dir, max(exit, exitFailed)
	}
	for _, path := range curves {
		fmt.Fprintf(stdout, "curve: %s\n", path)
	}
	return dir, exit
}
