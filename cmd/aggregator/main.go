// Command aggregator runs the log aggregator; docs/reference/flags.md describes its flags.
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
	"strings"
	"syscall"

	"sekali/aggregator"
)

// version is set by the build.
var version = "development"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit code: 0 stopped as asked, 1 could not go on, 2 misconfigured.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		switch args[0] {
		case "healthcheck":
			return healthcheck(ctx, args[1:], stderr)
		case "check", "backup", "mend-time":
			return maintain(ctx, args[0], args[1:], stdout, stderr)
		}
	}
	cfg := aggregator.DefaultConfig()
	cfg.Version = version
	var level slog.Level
	flags := flag.NewFlagSet("aggregator", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&cfg.Listen, "listen", cfg.Listen, "public API `address`; port 0 picks one")
	flags.StringVar(&cfg.Admin, "admin", cfg.Admin, "`address` of /metrics and /debug/pprof; empty turns it off")
	flags.StringVar(&cfg.Data, "data", cfg.Data, "`folder` of the journal and the database; created with mode 0700")
	flags.StringVar(&cfg.Ack, "ack", cfg.Ack, "`level` for requests that name none: memory, journal, store")
	flags.IntVar(&cfg.QueueEvents, "queue-events", cfg.QueueEvents, "events that may wait in memory")
	flags.Int64Var(&cfg.QueueBytes, "queue-bytes", cfg.QueueBytes, "bytes that may wait in memory")
	flags.Int64Var(&cfg.BacklogBytes, "backlog-bytes", cfg.BacklogBytes, "bytes that may wait in the journal")
	flags.StringVar(&cfg.Layout, "layout", cfg.Layout, "how events lie in the database: blocks or rows; fixed when the data folder is made (default blocks)")
	flags.StringVar(&cfg.Dedup, "dedup", cfg.Dedup, "deduplication `design`: runs or table; fixed when the data folder is made (default runs)")
	flags.IntVar(&cfg.BatchEvents, "batch-events", cfg.BatchEvents, "most events in a transaction")
	flags.DurationVar(&cfg.Retention, "retention", 0, "`time` after which an event's content is removed; its repeats stay duplicates (default 0: never)")
	flags.IntVar(&cfg.MaxBodyBytes, "max-body-bytes", cfg.MaxBodyBytes, "largest body, decompressed too")
	flags.StringVar(&cfg.TokenFile, "token-file", "", "`file` of the bearer token that requests must carry")
	flags.StringVar(&cfg.HMACSecretFile, "hmac-secret-file", "", "`file` of the secret with which webhooks to /ingest sign (?hmac=github or standard)")
	flags.StringVar(&cfg.TLSCert, "tls-cert", "", "certificate `file`")
	flags.StringVar(&cfg.TLSKey, "tls-key", "", "key `file`")
	flags.BoolVar(&cfg.Insecure, "insecure", false, "allow a non-loopback address with neither token nor TLS")
	flags.BoolVar(&cfg.ProfileContention, "profile-contention", false, "take mutex and block profiles")
	flags.TextVar(&level, "log-level", slog.LevelInfo, "debug, info, warn, error")
	if err := parse(flags, args, os.LookupEnv); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(stdout, "Usage: aggregator [flags]\n       aggregator healthcheck [-url URL]\n       aggregator check [-data D]\n       aggregator backup [-data D] -to F\n       aggregator mend-time [-data D]\n\nEach flag is also read from SEKALI_<FLAG>, upper case, - as _.")
			flags.SetOutput(stdout)
			flags.PrintDefaults()
			return 0
		}
		fmt.Fprintln(stderr, "aggregator:", err)
		return 2
	}
	log := slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: level}))
	if err := aggregator.Run(ctx, cfg, log); err != nil {
		fmt.Fprintln(stderr, "aggregator:", strings.ReplaceAll(err.Error(), "\n", "; "))
		if errors.Is(err, aggregator.ErrConfig) {
			return 2
		}
		return 1
	}
	return 0
}

// parse reads the flags, and from the environment those that are not given.
func parse(flags *flag.FlagSet, args []string, lookup func(string) (string, bool)) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var err error
	flags.VisitAll(func(f *flag.Flag) {
		name := "SEKALI_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if v, ok := lookup(name); ok && !given[f.Name] && err == nil {
			if e := f.Value.Set(v); e != nil {
				err = fmt.Errorf("%s=%q: %w", name, v, e)
			}
		}
	})
	return err
}
