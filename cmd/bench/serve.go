package main

import (
	"context"
	"flag"
	"fmt"
	"io"

	"sekali/bench/pages/serve"
)

// serveResults shows results in a browser until it is interrupted.
func serveResults(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := flags.String("listen", "127.0.0.1:8090", "loopback `address`; port 0 picks one")
	if exit, ok := parse(flags, args, "<folder of runs>", 1); !ok {
		return exit
	}
	if err := serve.Run(ctx, serve.Config{Dir: flags.Arg(0), Listen: *listen}, stdout); err != nil {
		fmt.Fprintf(stderr, "bench %v\n", err)
		return exitUsage
	}
	return exitHeld
}
