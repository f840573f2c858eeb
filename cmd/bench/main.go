// Command bench runs the lab: scenarios against an aggregator, the audit, and what is made of the
// results.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"sekali/bench/experiment/mutants"
	"sekali/bench/experiment/runner"
	"sekali/bench/system/nullserver"
	"sekali/internal/completion"
	"sekali/internal/settings"
)

// version is set by the build, as git describes the tree.
var version string

// self is this program once it is one: the tests of this package are not.
var self string

const usage = `usage: bench <command> [flags]

  run      run scenarios, audit them, write results/runs/<run>/
  profile  run one scenario with CPU, heap, mutex and block profiles
  compare  set two runs or result folders side by side
  ab       run two programs in turn, pair by pair, and say what the evidence says of B
  saturate search the highest rate that meets an objective
  faults   kill, cut, fill, starve and damage an aggregator, and count what was lost
  cluster-faults  kill, cut off and starve a cluster, and count what was lost
  soak     load an aggregator for half an hour, kill it meanwhile, and look for what grows
  cluster  run three log servers and three aggregators on this machine, until Ctrl-C
  mutants  have aggregators lie, one kind after the other, and print what the lab says to each
  serve    browse and compare results in the browser, on this machine
  report   make REPORT.md from results/reference/
  verify   recompute every figure of REPORT.md from the raw files
  audit    audit a result folder again, against a URL or a file of events

Exit 0: all held. 1: an expectation or the audit failed. 2: usage or a bad scenario file.
3: a run is INVALID, or there is not enough evidence. bench <command> -h tells the flags,
bench --version the version, bench completion bash|zsh|fish what makes a shell complete them.
`

// commands take their arguments and return the exit code.
var commands = map[string]func(ctx context.Context, args []string, stdout, stderr io.Writer) int{
	"run":                run,
	"profile":            profileRun,
	"compare":            compareRuns,
	"ab":                 compareInTurn,
	"saturate":           saturate,
	"serve":              serveResults,
	"cluster":            runCluster,
	"faults":             tryFaults,
	"cluster-faults":     tryClusterFaults,
	"soak":               runSoak,
	"report":             writeReport,
	"verify":             verify,
	"audit":              auditAgain,
	"mutants":            tryMutants,
	mutants.Command:      becomeMutant, // not for people, like the next two
	mutants.ProxyCommand: proxyMutant,
	nullserver.Command:   nullServer, // the runner starts it to measure the generator
}

func main() {
	ctx, stop := untilSignal(context.Background())
	defer stop()
	self = runner.Self()
	os.Exit(dispatch(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// untilSignal ends with a signal that asks for the end, of a supervisor (SIGTERM) or a terminal
// (SIGINT, and SIGHUP when it closes), so that what has been measured is kept. A second one ends
// the bench at once; its processes end with it. A reader of the output that has gone, a log
// rotation and a terminal that stops who writes from the background do nothing. Signals that nohup
// or a shell ignored stay ignored.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	signal.Ignore(syscall.SIGPIPE, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTTOU)
	ends := []os.Signal{syscall.SIGTERM}
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			ends = append(ends, s)
		}
	}
	ctx, stop := signal.NotifyContext(ctx, ends...)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

func dispatch(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return exitUsage
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		fmt.Fprint(stdout, usage)
		return exitHeld
	case "completion":
		return completion.Run(completable(ctx), args[1:], stdout, stderr)
	case "version", "-version", "--version":
		fmt.Fprintln(stdout, "bench", cmp.Or(version, "development"))
		return exitHeld
	}
	command, ok := commands[args[0]]
	if !ok {
		fmt.Fprintf(stderr, "bench: unknown command %q\n%s", args[0], usage)
		return exitUsage
	}
	if exit, ok := interruptible[args[0]]; ok {
		return orInterrupted(ctx, func() int { return command(ctx, args[1:], stdout, stderr) }, func() int {
			fmt.Fprintf(stderr, "bench %s: interrupted\n", args[0])
			return exit
		})
	}
	return command(ctx, args[1:], stdout, stderr)
}

// interruptible are commands that only read, but for pictures that are made anew: they end with
// ctx, wherever they are, with these exit codes.
var interruptible = map[string]int{"compare": exitInvalid, "verify": exitFailed}

// orInterrupted does the work beside, and once ctx has ended what is done then instead.
func orInterrupted(ctx context.Context, work, ended func() int) int {
	exit := make(chan int, 1)
	go func() { exit <- work() }()
	select {
	case code := <-exit:
		return code
	case <-ctx.Done():
	}
	select {
	case code := <-exit:
		return code
	default:
		return ended()
	}
}

// completable is what a shell can complete: the commands that usage has.
func completable(ctx context.Context) completion.Program {
	p := completion.Program{
		Name: "bench",
		Help: func(command string, w io.Writer) { dispatch(ctx, []string{command, "-h"}, io.Discard, w) },
	}
	for line := range strings.Lines(usage) {
		if text, ok := strings.CutPrefix(line, "  "); ok {
			name, summary, _ := strings.Cut(text, " ")
			p.Commands = append(p.Commands, completion.Command{Name: name, Summary: strings.TrimSpace(summary)})
		}
	}
	return p
}

func nullServer(ctx context.Context, args []string, _, stderr io.Writer) int {
	if err := nullserver.Run(ctx, args, stderr); err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	return exitHeld
}

// parse reads the flags of a command, and those that are not given from the file of -config, and
// holds it to a number of arguments. When ok is false, exit is the code.
func parse(flags *flag.FlagSet, args []string, arguments string, count int) (exit int, ok bool) {
	flags.Usage = func() {
		usage := strings.TrimSpace(fmt.Sprintf("usage: bench %s [flags] %s", flags.Name(), arguments))
		settings.Help(flags.Output(), usage+"\n\nExit "+exits[flags.Name()]+"\n", flags)
	}
	settings.Declare(flags)
	origins, err := settings.ParseBefore(flags, args, settings.None)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitHeld, false
	case err != nil && origins == nil: // of the command line: the flags have told it
		return exitUsage, false
	case err != nil:
		fmt.Fprintf(flags.Output(), "bench %s: %v\n", flags.Name(), err)
		return exitUsage, false
	}
	if flags.NArg() != count {
		fmt.Fprintf(flags.Output(), "bench %s: %d arguments where %d are expected\n", flags.Name(), flags.NArg(), count)
		flags.Usage()
		return exitUsage, false
	}
	return 0, true
}
