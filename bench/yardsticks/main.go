// Yardsticks measures Sekali and other systems that store events, in turn, with the same events,
// and writes what it saw to results/yardsticks/.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"sekali/bench/figures"
	"sekali/bench/internal/machine"
	"sekali/bench/record"
	"sekali/loadgen/stream"
)

// version is set by the build.
var version = "development"

func main() {
	if len(os.Args) > 1 && os.Args[1] == natsCommand {
		if err := serveNATS(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "yardsticks:", err)
			os.Exit(1)
		}
		return
	}
	c := config{}
	flag.IntVar(&c.events, "events", 1_000_000, "events of a round, repeats included; the slow systems take fewer")
	flag.IntVar(&c.rounds, "rounds", 5, "rounds; in each every system is filled once")
	flag.IntVar(&c.eventsPerRequest, "request", 500, "events of a request")
	flag.StringVar(&c.work, "work", "/var/tmp", "folder on the disk to measure, which every user may enter")
	flag.StringVar(&c.out, "out", "results/yardsticks", "folder that receives a folder with the figures")
	only := flag.String("only", "", "systems to measure, by id, separated by commas; all if empty")
	aggregatorBinary := flag.String("aggregator", "bin/aggregator", "Sekali's binary")
	victoriaBinary := flag.String("victorialogs", "bin/victoria-logs", "VictoriaLogs' binary")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "Usage: yardsticks [flags]\n\nExit 0: measured and written. 1: something could not be, and it says why. 2: a bad flag.")
		flag.PrintDefaults()
	}
	flag.Parse()
	var err error
	if c.systems, err = choose(yardsticks(*aggregatorBinary, *victoriaBinary), *only); err == nil && flag.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	if err == nil && (c.events < 1 || c.rounds < 1 || c.eventsPerRequest < 1) {
		err = errors.New("-events, -rounds and -request are at least 1")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "yardsticks:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, c, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "yardsticks:", err)
		os.Exit(1)
	}
}

// yardsticks are all systems, in the order of the report.
func yardsticks(aggregator, victoriaLogs string) []yardstick {
	// The servers run in folders of their own, so their binaries cannot be named relative to ours.
	aggregator, _ = filepath.Abs(aggregator)
	victoriaLogs, _ = filepath.Abs(victoriaLogs)
	return []yardstick{sekaliYardstick(aggregator), exportYardstick(aggregator), sqliteAppendYardstick(), sqliteDedupYardstick(), courseYardstick(), postgresYardstick(),
		redisYardstick(), natsYardstick(), natsSyncYardstick(), victoriaYardstick(victoriaLogs)}
}

// choose keeps the systems that only names.
func choose(all []yardstick, only string) ([]yardstick, error) {
	if only == "" {
		return all, nil
	}
	var chosen []yardstick
	for id := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(all, func(y yardstick) bool { return y.ID == id })
		if i < 0 {
			return nil, fmt.Errorf("-only: there is no %q", id)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

type config struct {
	events, rounds, eventsPerRequest int
	work, out                        string
	systems                          []yardstick
}

// run measures, and writes the figures if every round stored what it had to.
func run(ctx context.Context, c config, stdout io.Writer) error {
	report := record.Yardsticks{StartedAt: time.Now().UTC(), Environment: machine.Read(version), EventsPerRequest: c.eventsPerRequest}
	work, err := os.MkdirTemp(c.work, "sekali-yardsticks-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := os.Chmod(work, 0o711); err != nil { // PostgreSQL may be another user
		return err
	}
	if report.Environment.Filesystem = machine.Filesystem(work); report.Environment.Filesystem == "tmpfs" {
		return fmt.Errorf("%s is in memory, where a sync costs nothing: name a folder on a disk with -work", c.work)
	}
	if report.Environment.Fdatasync, err = machine.ProbeDisk(work); err != nil {
		return err
	}
	events, err := stream.New(stream.Config{Seed: 1, Duplicates: 0.2})
	if err != nil {
		return err
	}
	report.Stream = events.Config()
	m := &measurement{config: c, stream: events, dir: work, stdout: stdout}
	if report.Systems, err = m.rounds(ctx); err != nil {
		return err
	}
	if report, err = figures.Yardsticks(report); err != nil {
		return err
	}
	out := filepath.Join(c.out, report.StartedAt.Format(record.IDLayout))
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if err := record.WriteYardsticks(out, report); err != nil {
		return err
	}
	printTable(stdout, report)
	fmt.Fprintf(stdout, "\n%s\n", filepath.Join(out, record.YardsticksFile))
	return nil
}

func printTable(w io.Writer, y record.Yardsticks) {
	fmt.Fprintf(w, "\n%-18s %12s %22s %10s %9s %9s\n", "system", "events/s", "smallest to largest", "Sekali is", "B written", "B kept")
	for _, s := range y.Systems {
		if s.Skipped != "" {
			fmt.Fprintf(w, "%-18s skipped: %s\n", s.ID, s.Skipped)
			continue
		}
		fmt.Fprintf(w, "%-18s %12.0f %10.0f to %8.0f %8.2f x %9.0f %9.0f\n", s.ID, s.EventsPerS.Median, s.EventsPerS.Min, s.EventsPerS.Max,
			s.SekaliRatio.Median, s.BytesWrittenPerEvent, s.BytesKeptPerEvent)
	}
}
