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
       aggregator cluster status -cluster URLS
       aggregator cluster check -cluster URLS [-deep -peers URL,URL,…]
       aggregator cluster join -cluster URLS -data D -from URL -node NAME
       aggregator cluster join -cluster URLS -data D -from FILE
       aggregator cluster forget -cluster URLS -node NAME
       aggregator cluster skip -cluster URLS -position N
       aggregator cluster new-epoch -cluster URLS -data D [-begin -nodes a,b,c [-replicas 3] [-log-bytes N]]

Exit 0: done, and nothing is wrong. 1: something is wrong, and it says what. 2: bad usage.`

// clusterCommands are the commands on a cluster, and what each does.
var clusterCommands = map[string]func(context.Context, aggregator.ClusterConfig, io.Writer) error{
	"init": aggregator.ClusterInit, "status": aggregator.ClusterStatus, "check": aggregator.ClusterCheck, "join": aggregator.ClusterJoin, "new-epoch": aggregator.ClusterNewEpoch, "forget": aggregator.ClusterForget,
	"skip": aggregator.ClusterSkip,
}

// clusterCommand runs a command on a cluster as a whole: 0 done, 1 something is wrong, 2 bad usage.
func clusterCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	command := ""
	if len(args) > 0 {
		command = args[0]
	}
	run := clusterCommands[command]
	if run == nil {
		if command == "-h" || strings.TrimLeft(command, "-") == "help" {
			settings.Help(stdout, clusterUsage, clusterFlags("", &aggregator.ClusterConfig{}, new(string), new(string)))
			return 0
		}
		fmt.Fprintln(stderr, clusterUsage)
		return 2
	}
	c := aggregator.ClusterConfig{Version: version}
	nodes, peers := "", ""
	flags := clusterFlags(command, &c, &nodes, &peers)
	_, err := settings.Parse(flags, args[1:], os.LookupEnv)
	if errors.Is(err, flag.ErrHelp) {
		settings.Help(stdout, clusterUsage, flags)
		return 0
	}
	if nodes != "" {
		c.Nodes = strings.Split(nodes, ",")
	}
	if peers != "" {
		c.Peers = strings.Split(peers, ",")
	}
	if err != nil {
		fmt.Fprintf(stderr, "aggregator: %v\n%s\n", err, clusterUsage)
		return 2
	}
	if err = run(ctx, c, stdout); err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "aggregator:", strings.ReplaceAll(err.Error(), "\n", "; "))
	if errors.Is(err, aggregator.ErrConfig) {
		return 2
	}
	return 1
}

// clusterData is what -data is to a command.
var clusterData = map[string]string{
	"":          "`folder` of a stopped aggregator",
	"init":      "`folder` of a stopped aggregator with whose events the cluster begins; empty: it begins with none",
	"join":      "`folder` of the stopped aggregator whose database is replaced, or an empty one",
	"new-epoch": "`folder` of a stopped replica",
}

// clusterFlags are those of a command; of "" all there are.
func clusterFlags(command string, c *aggregator.ClusterConfig, nodes, peers *string) *flag.FlagSet {
	flags := flag.NewFlagSet("cluster "+command, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&c.URLs, "cluster", "", "`URLs` of the log's servers, with commas")
	flags.StringVar(&c.TokenFile, "cluster-token-file", "", "`file` of the token that the log wants")
	flags.StringVar(&c.CAFile, "cluster-ca", "", "`file` of the certificates that those of the log are signed with")
	if usage, ok := clusterData[command]; ok {
		flags.StringVar(&c.Data, "data", "", usage)
	}
	if command == "" || command == "forget" || command == "join" {
		flags.StringVar(&c.Node, "node", "", "`name` of the node: of join, which it is made for; of forget, which is away")
	}
	if command == "" || command == "skip" {
		flags.Uint64Var(&c.Position, "position", 0, "`number` of the message of the log at which the replicas have halted")
	}
	if command == "" || command == "join" {
		flags.StringVar(&c.From, "from", "", "`URL` of a running aggregator of the cluster, or a file of a copy of another replica's database, as backup makes it")
	}
	if command == "" || command == "check" {
		flags.BoolVar(&c.Deep, "deep", false, "read every event of all -peers, and name the first at which they differ")
		flags.StringVar(peers, "peers", "", "`URLs` of the aggregators, with commas")
	}
	if command == "" || command == "check" || command == "join" {
		flags.StringVar(&c.PeerTokenFile, "peer-token-file", "", "`file` of the token that the aggregators want: the right admin of join, read of check")
		flags.StringVar(&c.PeerCA, "peer-ca", "", "`file` of the certificates that those of the aggregators are signed with")
	}
	if command == "" || command == "new-epoch" {
		flags.BoolVar(&c.Begin, "begin", false, "make the new log: this replica is the furthest, and all aggregators are stopped; refused while one of them tells how far it is")
	}
	if command == "" || command == "init" || command == "new-epoch" {
		flags.StringVar(nodes, "nodes", "", "`names` of the aggregators, with commas")
		flags.IntVar(&c.Replicas, "replicas", 3, "copies of the log: 3, or 1, which no server may be lost of")
		flags.Int64Var(&c.LogBytes, "log-bytes", 4<<30, "most `bytes` of the log on each server")
	}
	return flags
}
