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
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sekali/aggregator"
	"sekali/aggregator/logs"
	"sekali/aggregator/pipeline"
	"sekali/internal/completion"
	"sekali/internal/settings"
)

// version is set by the build.
var version = "development"

func main() {
	ctx, stop := untilSignal(context.Background())
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// untilSignal ends with a signal that asks for the end: of a supervisor (SIGTERM) or of a terminal
// (SIGINT, SIGQUIT). What a log rotation, a terminal that closes or a reader of the log that has
// gone sends does nothing; -token-file and -tokens heed SIGHUP.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTTOU, syscall.SIGALRM)
	return signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
}

// run returns the exit code: 0 stopped as asked, 1 could not go on, 2 misconfigured.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		switch args[0] {
		case "completion":
			return completion.Run(completable(ctx), args[1:], stdout, stderr)
		case "healthcheck":
			return healthcheck(ctx, args[1:], stdout, stderr)
		case "version", "-version", "--version":
			fmt.Fprintln(stdout, "aggregator", version)
			return 0
		case "check", "backup", "mend-time":
			return maintain(ctx, args[0], args[1:], stdout, stderr)
		case "cluster":
			return clusterCommand(ctx, args[1:], stdout, stderr)
		case "help":
			args = []string{"-h"}
		}
	}
	return serve(ctx, args, stdout, stderr)
}

const usage = `Stores events that publishers send over HTTP, each of them once.

Usage: aggregator [flags]                      runs the server; without flags on 127.0.0.1:8080, in ./data
       aggregator healthcheck [-url URL]       asks a running one whether it is ready
       aggregator check [-data D]              reads all of a data folder and says what is wrong in it
       aggregator backup [-data D] -to FILE|FOLDER   copies a data folder, also of one that runs
       aggregator mend-time [-data D]          takes back times in the future
       aggregator cluster init|status|check|join|forget|skip|new-epoch -cluster URLS …
       aggregator completion bash|zsh|fish     what makes a shell complete commands and flags
       aggregator --version

The flags of the server follow. Each is also read from SEKALI_<FLAG>, such as SEKALI_MAX_STREAMS for
-max-streams, and from the file of -config.

Exit 0: stopped as asked. 1: it could not go on, and says why; or what waited at memory was lost at the stop. 2: a bad flag or setting, or a data folder that does not go with them.
`

// completable is what a shell can complete.
func completable(ctx context.Context) completion.Program {
	return completion.Program{
		Name: "aggregator",
		Commands: []completion.Command{
			{},
			{Name: "healthcheck", Summary: "asks a running aggregator whether it is ready"},
			{Name: "check", Summary: "reads all of a data folder"},
			{Name: "backup", Summary: "copies a data folder, also of one that runs"},
			{Name: "mend-time", Summary: "takes back times in the future"},
			{Name: "cluster", Summary: "makes a cluster, or tells how one is", Words: []string{"check", "forget", "init", "join", "new-epoch", "skip", "status"}},
		},
		Help: func(command string, w io.Writer) {
			args := []string{"-h"}
			switch command {
			case "":
			case "cluster":
				settings.Help(w, clusterUsage, clusterFlags("", &aggregator.ClusterConfig{}, new(string), new(string)))
				return
			default:
				args = []string{command, "-h"}
			}
			run(ctx, args, w, io.Discard)
		},
	}
}

// serve runs the aggregator. Its log may go where nobody takes it, which must not hold it up.
func serve(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg := aggregator.DefaultConfig()
	cfg.Version = version
	var level slog.Level
	contention := false
	flags := serveFlags(&cfg, &level, &contention)
	origins, err := settings.Parse(flags, args, os.LookupEnv)
	if err != nil {
		if errors.Is(err, flag.ErrHelp) {
			settings.Help(stdout, usage, flags)
			return 0
		}
		fmt.Fprintln(stderr, "aggregator:", err)
		return 2
	}
	lines := logs.NewWriter(stderr)
	defer lines.Close()
	log := slog.New(slog.NewJSONHandler(lines, &slog.HandlerOptions{Level: level}))
	for _, name := range unknown(flags, os.Environ()) {
		log.Warn("an environment variable is no flag of the aggregator's", "name", name)
	}
	if cfg.Cluster != "" && !origins.Given("ack") {
		cfg.Ack = string(pipeline.Replicated)
	}
	cfg.DedupMemory = tune(cfg.QueueBytes, contention)
	if err := aggregator.Run(ctx, cfg, log); err != nil {
		if errors.Is(err, aggregator.ErrConfig) {
			err = origins.Explain(err)
		}
		fmt.Fprintln(lines, "aggregator:", strings.ReplaceAll(err.Error(), "\n", "; "))
		if errors.Is(err, aggregator.ErrConfig) {
			return 2
		}
		return 1
	}
	return 0
}

// serveFlags are the flags that change cfg, the log's level, and whether contention is profiled.
func serveFlags(cfg *aggregator.Config, level *slog.Level, contention *bool) *flag.FlagSet {
	flags := flag.NewFlagSet("aggregator", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	settings.Declare(flags)
	flags.StringVar(&cfg.Listen, "listen", cfg.Listen, "public API `address`; port 0 picks one")
	flags.StringVar(&cfg.Admin, "admin", cfg.Admin, "`address` of /metrics and /debug/pprof; empty turns it off")
	flags.StringVar(&cfg.Metrics, "metrics", "", "`address` of /metrics alone, for another machine; empty: none")
	flags.StringVar(&cfg.Data, "data", cfg.Data, "`folder` of the journal and the database; created with mode 0700")
	flags.StringVar(&cfg.Ack, "ack", cfg.Ack, "`level` for requests that name none: memory, journal, store; that is, answered when the event is in the queue, synced to disk, or committed; a cluster also has replicated, its default")
	flags.IntVar(&cfg.QueueEvents, "queue-events", cfg.QueueEvents, "events that may wait in memory; beyond, requests are answered 503")
	flags.Int64Var(&cfg.QueueBytes, "queue-bytes", cfg.QueueBytes, "bytes that may wait in memory; beyond, requests are answered 503")
	flags.Int64Var(&cfg.BacklogBytes, "backlog-bytes", cfg.BacklogBytes, "bytes that may wait in the journal; beyond, requests are answered 503")
	flags.StringVar(&cfg.Layout, "layout", cfg.Layout, "`form` of the events in the database: blocks or rows; fixed when the data folder is made (default blocks)")
	flags.StringVar(&cfg.Dedup, "dedup", cfg.Dedup, "`way` to find duplicates: runs or table; that is, sorted files of keys, or a table of SQL; fixed when the data folder is made (default runs)")
	flags.IntVar(&cfg.BatchEvents, "batch-events", cfg.BatchEvents, "most events in one transaction of the database")
	flags.Var((*days)(&cfg.Retention), "retention", "`time`, such as 30d or 36h, after which an event's content is removed; its repeats stay duplicates (default 0: never)")
	flags.IntVar(&cfg.MaxBodyBytes, "max-body-bytes", cfg.MaxBodyBytes, "most bytes of a request's body, also after decompression")
	flags.IntVar(&cfg.MaxStreams, "max-streams", cfg.MaxStreams, "most readers of /events/stream at one time")
	flags.StringVar(&cfg.TokenFile, "token-file", "", "`file` of the bearer token that requests must carry")
	flags.StringVar(&cfg.TokensFile, "tokens", "", "`file` of tokens, each with its rights and topics")
	flags.BoolVar(&cfg.KeepRejected, "keep-rejected", false, "keep the events that /publish refuses, to be read at /dead-letters")
	flags.StringVar(&cfg.CORSOrigin, "cors-origin", "", "`origin`, such as https://dashboard.example, whose pages may read events and figures")
	flags.StringVar(&cfg.HMACSecretFile, "hmac-secret-file", "", "`file` of the secret with which webhooks to /ingest sign (?hmac=github or standard)")
	flags.StringVar(&cfg.TLSCert, "tls-cert", "", "`file` of the certificate; with -tls-key the server speaks HTTPS")
	flags.StringVar(&cfg.TLSKey, "tls-key", "", "`file` of the certificate's key")
	flags.BoolVar(&cfg.Insecure, "insecure", false, "allow other machines to connect though there is neither token nor TLS")
	flags.StringVar(&cfg.Cluster, "cluster", "", "`URLs` of a cluster's log, with commas: nats://host:port,…; empty: this aggregator is alone")
	flags.StringVar(&cfg.Node, "node", "", "`name` of this aggregator in the cluster")
	flags.StringVar(&cfg.ClusterTokenFile, "cluster-token-file", "", "`file` of the token that the cluster's log wants")
	flags.StringVar(&cfg.ClusterCA, "cluster-ca", "", "`file` of the certificates that those of the cluster's log are signed with")
	flags.DurationVar(&cfg.MaxLag, "max-lag", cfg.MaxLag, "`time` that a replica may be behind the cluster's log and be ready")
	flags.Int64Var(&cfg.LogKeep, "log-keep", cfg.LogKeep, "`bytes` that the cluster's log may have while it waits for a node that is away; beyond, that has to join anew")
	flags.BoolVar(contention, "profile-contention", false, "take profiles of waiting (mutex and block), for /debug/pprof")
	flags.TextVar(level, "log-level", slog.LevelInfo, "least `level` that is logged: debug, info, warn, error")
	return flags
}

// days is a time that may be given in days, too: 30d.
type days time.Duration

func (d *days) String() string { return time.Duration(*d).String() }

func (d *days) Set(text string) error {
	const day, most = 24 * time.Hour, 100_000 // days; a time.Duration has room for 106 751
	if number, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil || n > most {
			return fmt.Errorf("%q is not a number of days up to %d", text, most)
		}
		*d = days(time.Duration(n) * day)
		return nil
	}
	t, err := time.ParseDuration(text)
	if err != nil {
		return errors.New("want a time with a unit, such as 24h or 30d")
	}
	*d = days(t)
	return nil
}

// unknown are the variables that look like a flag's and are none's.
func unknown(flags *flag.FlagSet, environ []string) []string {
	known := map[string]bool{}
	flags.VisitAll(func(f *flag.Flag) { known[settings.Variable(f.Name)] = true })
	var names []string
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "SEKALI_") && !known[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
