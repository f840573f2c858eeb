package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"sekali/aggregator"
	"sekali/internal/settings"
)

const clusterUsage = `usage: aggregator cluster init -cluster URLS -nodes a,b,c [-replicas 3] [-log-bytes N] [-data D]
       aggregator cluster status -cluster URLS`

// clusterCommand runs a command on a cluster as a whole: 0 done, 1 something is wrong, 2 bad usage.
func clusterCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 || args[0] != "init" && args[0] != "status" {
		out, code := stderr, 2
		if len(args) > 0 && strings.TrimLeft(args[0], "-") == "help" || len(args) > 0 && args[0] == "-h" {
			out, code = stdout, 0
		}
		fmt.Fprintln(out, clusterUsage)
		return code
	}
	command := args[0]
	flags := flag.NewFlagSet("cluster "+command, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	c := aggregator.ClusterConfig{Version: version}
	flags.StringVar(&c.URLs, "cluster", "", "`URLs` of the log's servers, with commas")
	flags.StringVar(&c.TokenFile, "cluster-token-file", "", "`file` of the token that the log wants")
	flags.StringVar(&c.CAFile, "cluster-ca", "", "`file` of the certificates that those of the log are signed with")
	nodes := new(string)
	if command == "init" {
		nodes = flags.String("nodes", "", "`names` of the aggregators, with commas")
		flags.IntVar(&c.Replicas, "replicas", 3, "copies of the log: 3, or 1, which no server may be lost of")
		flags.Int64Var(&c.LogBytes, "log-bytes", 4<<30, "most `bytes` of the log on each server")
		flags.StringVar(&c.Data, "data", "", "`folder` of a stopped aggregator with whose events the cluster begins; empty: it begins with none")
	}
	_, err := settings.Parse(flags, args[1:], os.LookupEnv)
	if errors.Is(err, flag.ErrHelp) {
		settings.Help(stdout, clusterUsage, flags)
		return 0
	}
	if *nodes != "" {
		c.Nodes = strings.Split(*nodes, ",")
	}
	if err == nil {
		if command == "init" {
			err = aggregator.ClusterInit(ctx, c, stdout)
		} else {
			err = aggregator.ClusterStatus(ctx, c, stdout)
		}
		if err != nil && !errors.Is(err, aggregator.ErrConfig) {
			fmt.Fprintln(stderr, "aggregator:", strings.ReplaceAll(err.Error(), "\n", "; "))
			return 1
		}
	}
	if err != nil {
		fmt.Fprintf(stderr, "aggregator: %v\n%s\n", err, clusterUsage)
		return 2
	}
	return 0
}
