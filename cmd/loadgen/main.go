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

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal kills
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit code: 0 all was acknowledged, 1 something was not, 2 misconfigured.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 || args[0] != "publish" {
		fmt.Fprintln(stderr, "usage: loadgen publish [flags]; loadgen publish -h lists them")
		return 2
	}
	cfg, err := publisher.ParseFlags(args[1:], os.LookupEnv, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = publisher.Run(ctx, cfg, stdout, stderr)
	}
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "loadgen:", strings.ReplaceAll(err.Error(), "\n", "; "))
	if errors.Is(err, publisher.ErrConfig) {
		return 2
	}
	return 1
}
