package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"sekali/bench/system/cluster"
)

// runCluster runs a cluster of three on this machine until a signal comes.
func runCluster(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("dir", "", "`folder` of the data and the logs, kept at the end; empty: one that is removed")
	port := flags.Int("port", 8080, "first `port` of nine: three of the aggregators, then six of the log servers; 0 picks them")
	aggregator := flags.String("aggregator", "bin/aggregator", "`program`")
	logServer := flags.String("log", "bin/sekali-log", "`program`")
	if exit, ok := parse(flags, args, "", 0); !ok {
		return exit
	}
	err := serveCluster(ctx, cluster.Config{Dir: *dir, Aggregator: *aggregator, LogServer: *logServer, Nodes: 3, Port: *port}, stdout)
	if errors.Is(err, cluster.ErrPort) {
		err = fmt.Errorf("%w; nine from -port on have to be free: make cluster PORT=9000", err)
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench cluster: %v\n", err)
		return exitFailed
	}
	return exitHeld
}

func serveCluster(ctx context.Context, config cluster.Config, stdout io.Writer) (err error) {
	if config.Dir == "" {
		if config.Dir, err = os.MkdirTemp("", "sekali-cluster-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(config.Dir)) }()
	}
	logs, err := openLogs(&config)
	if err != nil {
		return err
	}
	defer logs.close()
	// A signal is answered by a graceful stop of all, so it must not kill them: hence another context.
	starting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	started := make(chan struct{})
	abort := context.AfterFunc(ctx, func() {
		select {
		case <-started:
		default:
			cancel()
		}
	})
	c, err := cluster.Start(starting, config)
	close(started)
	abort()
	if ctx.Err() != nil && err != nil {
		return nil // stopped while it started
	}
	if err != nil {
		return err
	}
	var line sync.Mutex
	say := func(text string) {
		line.Lock()
		defer line.Unlock()
		fmt.Fprintln(stdout, text)
	}
	for _, m := range c.Machines {
		say(fmt.Sprintf("%s %s  (pid %d; its log server %s: pid %d)", m.NodeName, m.URL, m.Node.PID(), m.LogName, m.Log.PID()))
	}
	say(fmt.Sprintf("its log, for -cluster: %s\nask it: %s cluster status -cluster %s", c.LogURLs(), config.Aggregator, c.LogURLs()))
	say(fmt.Sprintf("data and logs: %s\nCtrl-C stops all of it.", config.Dir))
	c.Supervise(ctx, say)
	say("stopping")
	return c.Stop()
}

// logFiles are the files of the processes' logs.
type logFiles struct {
	mu    sync.Mutex
	files []*os.File
}

// openLogs has each process of config log into its folder's neighbour, NAME.log.
func openLogs(config *cluster.Config) (*logFiles, error) {
	logs := &logFiles{}
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, err
	}
	dir := config.Dir
	config.Log = func(name string) io.Writer {
		file, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return io.Discard
		}
		logs.mu.Lock()
		defer logs.mu.Unlock()
		logs.files = append(logs.files, file)
		return file
	}
	return logs, nil
}

func (l *logFiles) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, file := range l.files {
		file.Close()
	}
}
