package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"sekali/bench/experiment"
	"sekali/bench/experiment/soak"
	"sekali/bench/judge"
	"sekali/bench/pages/terminal"
)

// runSoak loads an aggregator for a long time, kills it meanwhile, and writes what was lost and
// what grew.
func runSoak(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.SetOutput(stderr)
	config := soak.Config{Version: version, Log: io.Discard, Rate: soak.FullRate}
	out := flags.String("out", filepath.Join("results", "soak"), "`folder` for the record and the table, made anew")
	flags.StringVar(&config.Aggregator, "aggregator", filepath.Join("bin", "aggregator"), "`program` under test")
	flags.DurationVar(&config.Lasts, "time", 30*time.Minute, "how long the load lasts, a minute at least")
	if exit, ok := parse(flags, args, "", 0); !ok {
		return exit
	}
	if config.Lasts < time.Minute {
		fmt.Fprintf(stderr, "bench soak: -time is %v, want a minute at least\n", config.Lasts)
		return exitUsage
	}
	held, err := soakInto(ctx, config, *out, stdout)
	if err != nil {
		fmt.Fprintf(stderr, "bench soak: %v\n", err)
	}
	if err != nil || !held {
		return exitFailed
	}
	return exitHeld
}

func soakInto(ctx context.Context, config soak.Config, out string, stdout io.Writer) (held bool, err error) {
	if err := experiment.Anew(out, soak.FiguresFile, soak.TableFile); err != nil {
		return false, err
	}
	if err := os.WriteFile(filepath.Join(out, soak.TableFile), []byte("This soak has not gone to its end.\n"), 0o644); err != nil {
		return false, err
	}
	config.Dir = out
	defer os.RemoveAll(filepath.Join(out, "data"))
	left, err := soak.Run(ctx, config)
	if err != nil {
		return false, err
	}
	found, err := soak.Write(out, left)
	if err != nil {
		return false, err
	}
	return judge.SoakHeld(found), terminal.Soak(stdout, found)
}
