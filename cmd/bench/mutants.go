package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"

	"sekali/bench/experiment"
	"sekali/bench/experiment/mutants"
)

// tryMutants has aggregators lie, one kind of lie after the other, and prints what the lab says to
// each.
func tryMutants(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("mutants", flag.ContinueOnError)
	flags.SetOutput(stderr)
	config := mutants.Config{Version: version}
	flags.StringVar(&config.Aggregator, "aggregator", filepath.Join("bin", "aggregator"), "`program` that is made to lie")
	flags.StringVar(&config.Crash, "crash", filepath.Join("bin", "aggregator-crash"), "the same `program`, built with -tags sekali_crash, for what a proxy cannot do")
	flags.StringVar(&config.Dir, "out", filepath.Join("results", "mutants"), "`folder` for what the runs leave behind, made anew")
	only := flags.String("only", "", "`regexp` of the mutants to try")
	write := flags.String("write", "", "`file` that the whole table is written into, as "+mutants.File)
	if exit, ok := parse(flags, args, "", 0); !ok {
		return exit
	}
	var err error
	if *write != "" && *only != "" {
		err = errors.New("-write is for the whole table, and -only for a part")
	} else if config.Only, err = regexp.Compile(*only); err == nil {
		config.Self, err = os.Executable()
	}
	if err == nil {
		err = experiment.Anew(config.Dir, mutants.Names()...)
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench mutants: %v\n", err)
		return exitUsage
	}
	held := true
	var rows []mutants.Found
	mutants.WriteHeader(stdout)
	err = mutants.Try(ctx, config, func(row mutants.Found) {
		row.Write(stdout)
		held = held && row.Held()
		rows = append(rows, row)
	})
	if err == nil && *write != "" {
		err = os.WriteFile(*write, mutants.Document(rows), 0o644)
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench mutants: %v\n", err)
	}
	if err != nil || !held {
		return exitFailed
	}
	return exitHeld
}

// becomeMutant is started by the lab in the aggregator's place.
func becomeMutant(_ context.Context, args []string, _, stderr io.Writer) int {
	err := fmt.Errorf("bench %s: not for people", mutants.Command)
	if path, errSelf := os.Executable(); len(args) > 3 && errSelf == nil {
		err = mutants.Become(path, args[0], args[1], args[2], args[3:])
	}
	fmt.Fprintln(stderr, err)
	return exitUsage
}

// proxyMutant is started by it.
func proxyMutant(_ context.Context, args []string, _, stderr io.Writer) int {
	err := fmt.Errorf("bench %s: not for people", mutants.ProxyCommand)
	if len(args) == 4 {
		err = mutants.Proxy(args[0], args[1], args[2], args[3], os.Stdin, stderr)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitFailed
	}
	return exitHeld
}
