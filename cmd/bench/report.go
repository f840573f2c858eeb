package main

import (
	"context"
	"flag"
	"fmt"
	"io"

	"sekali/bench/pages/report"
)

// writeReport makes REPORT.md and what belongs to it from results/reference/.
func writeReport(_ context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("report", flag.ContinueOnError)
	flags.SetOutput(stderr)
	root := flags.String("root", ".", "`folder` of the repository")
	if exit, ok := parse(flags, args, "", 0); !ok {
		return exit
	}
	written, err := report.Write(*root)
	for _, name := range written {
		fmt.Fprintln(stdout, name)
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench report: %v\n", err)
		return exitFailed
	}
	return exitHeld
}

// verify recomputes every figure of REPORT.md from the raw files.
func verify(_ context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("verify", flag.ContinueOnError)
	flags.SetOutput(stderr)
	root := flags.String("root", ".", "`folder` of the repository")
	if exit, ok := parse(flags, args, "", 0); !ok {
		return exit
	}
	same, err := report.Verify(*root, stdout)
	if err != nil {
		fmt.Fprintf(stderr, "bench verify: %v\n", err)
	}
	if err != nil || !same {
		return exitFailed
	}
	return exitHeld
}
