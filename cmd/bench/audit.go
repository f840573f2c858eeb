package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"sekali/bench/experiment/runner"
	"sekali/bench/judge"
	"sekali/bench/record"
)

// auditAgain holds a finished result folder's ledger against a server that still has its events, or
// an export of them.
func auditAgain(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("audit", flag.ContinueOnError)
	flags.SetOutput(stderr)
	tokenFile := flags.String("token-file", "", "`file` of the server's bearer token")
	if exit, ok := parse(flags, args, "<result folder> <URL | file of events, NDJSON>", 2); !ok {
		return exit
	}
	token := ""
	if *tokenFile != "" {
		text, err := os.ReadFile(*tokenFile)
		if err != nil {
			fmt.Fprintf(stderr, "bench audit: %v\n", err)
			return exitUsage
		}
		token = strings.TrimSpace(string(text))
	}
	report, err := runner.AuditFolder(ctx, flags.Arg(0), flags.Arg(1), token)
	if err != nil {
		fmt.Fprintf(stderr, "bench audit: %v\n", err)
		return exitFailed
	}
	text, err := record.MarshalJSON(report)
	if err != nil {
		fmt.Fprintf(stderr, "bench audit: %v\n", err)
		return exitFailed
	}
	stdout.Write(text)
	if !judge.Clean(&report) {
		return exitFailed
	}
	return exitHeld
}
