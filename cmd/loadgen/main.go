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

	"sekali/loadgen/publisher"
)

// version is set by the build.
var version = "development"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal kills
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit code: 0 all was acknowledged, 1 something was not, 2 misconfigured.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	const usage = "usage: loadgen publish [flags] | loadgen version"
	switch {
	case len(args) == 1 && args[0] == "version":
		fmt.Fprintln(stdout, version)
		return 0
	case len(args) == 0 || args[0] != "publish":
		fmt.Fprintln(stderr, usage)
		return 2
	}
	cfg, err := publisher.ParseFlags(args[1:], os.LookupEnv, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = publisher.Run(ctx, cfg, stdout, stderr)
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, publisher.ErrConfig):
		fmt.Fprintln(stderr, "loadgen:", strings.ReplaceAll(err.Error(), "\n", "; "))
		return 2
	}
	fmt.Fprintln(stderr, "loadgen:", strings.ReplaceAll(err.Error(), "\n", "; "))
	return 1
}
