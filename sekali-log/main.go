// Command sekali-log is one server of the replicated log under a Sekali cluster: NATS JetStream
// with the settings that Sekali relies on. docs/howto/cluster.md shows how three of them are run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"sekali/internal/settings"
)

// version is set by the build.
var version = "development"

func main() {
	signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

const usage = `Usage: sekali-log -name NAME -dir FOLDER -routes HOST:PORT,HOST:PORT,HOST:PORT [flags]
       sekali-log --version

Each flag is also read from SEKALI_<FLAG>, upper case, - as _, and from the file of -config.

Exit 0: stopped as asked. 1: it could not go on, and says why. 2: a bad flag or setting.`

// run returns the exit code: 0 stopped as asked, 1 could not go on, 2 misconfigured.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && (args[0] == "version" || args[0] == "-version" || args[0] == "--version") {
		fmt.Fprintln(stdout, "sekali-log", version, "nats-server", natsVersion)
		return 0
	}
	cfg := defaults()
	flags := cfg.flags()
	origins, err := settings.Parse(flags, args, os.LookupEnv)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(stdout, usage)
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "sekali-log:", err)
		return 2
	}
	if err = cfg.check(); err == nil {
		err = serve(ctx, cfg, slog.New(slog.NewJSONHandler(stderr, nil)))
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errConfig):
		fmt.Fprintln(stderr, "sekali-log:", origins.Explain(err))
		return 2
	}
	fmt.Fprintln(stderr, "sekali-log:", err)
	return 1
}
