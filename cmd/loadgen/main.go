// Command loadgen publishes events to an aggregator; README.md shows how.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"sekali/internal/completion"
	"sekali/loadgen/publisher"
	"sekali/loadgen/reader"
)

// version is set by the build.
var version = "development"

const usage = `Usage: loadgen publish [flags]   publishes events, or the lines of a log
       loadgen follow [flags]    prints events as they are committed
       loadgen completion bash|zsh|fish
       loadgen --version

loadgen publish -h and loadgen follow -h list the flags.
`

func main() {
	ctx, stop := untilSignal(context.Background())
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// untilSignal ends with a signal that asks for the end, of a supervisor (SIGTERM) or
// a terminal (SIGINT, and SIGHUP when it closes), so that the summary is printed. A second one
// kills. What log rotation sends to programs does nothing here, and neither does a
// reader of the output that has gone. Signals that nohup or a shell ignored stay ignored.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	signal.Ignore(syscall.SIGPIPE, syscall.SIGUSR1, syscall.SIGUSR2)
	ends := []os.Signal{syscall.SIGTERM}
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			ends = append(ends, s)
		}
	}
	ctx, stop := signal.NotifyContext(ctx, ends...)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// run returns the exit code: 0 all was acknowledged, 1 something was not, 2 misconfigured.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	command := ""
	if len(args) > 0 {
		command = strings.TrimPrefix(args[0], "-")
	}
	switch command {
	case "publish":
		return publish(ctx, args[1:], stdout, stderr)
	case "follow":
		return follow(ctx, args[1:], stdout, stderr)
	case "completion":
		return completion.Run(completable(ctx), args[1:], stdout, stderr)
	case "h", "help", "-help":
		fmt.Fprint(stdout, usage)
		return 0
	case "version", "-version":
		fmt.Fprintln(stdout, "loadgen", version)
		return 0
	}
	fmt.Fprintln(stderr, "usage: loadgen publish [flags] or loadgen follow [flags]; -h behind them lists the flags")
	return 2
}

// completable is what a shell can complete.
func completable(ctx context.Context) completion.Program {
	return completion.Program{
		Name: "loadgen",
		Commands: []completion.Command{
			{Name: "publish", Summary: "publishes events, or the lines of a log"},
			{Name: "follow", Summary: "prints events as they are committed"},
		},
		Help: func(command string, w io.Writer) { run(ctx, []string{command, "-h"}, w, io.Discard) },
	}
}

func publish(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg, err := publisher.ParseFlags(args, os.LookupEnv, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = publisher.Run(ctx, cfg, stdout, stderr)
	}
	return exitCode(err, stderr)
}

func follow(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg, err := reader.ParseFlags(args, os.LookupEnv, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = reader.Run(ctx, cfg, stdout, stderr)
	}
	return exitCode(err, stderr)
}

// exitCode says in one line what went wrong, if anything did.
func exitCode(err error, stderr io.Writer) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "loadgen:", strings.ReplaceAll(err.Error(), "\n", "; "))
	if errors.Is(err, publisher.ErrConfig) || errors.Is(err, reader.ErrConfig) {
		return 2
	}
	return 1
}
