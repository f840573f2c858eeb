package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"sekali/bench/record"
	"sekali/bench/scenario"
	"sekali/bench/system/process"
	"sekali/loadgen/attack"
	"sekali/loadgen/ledger"
	"sekali/loadgen/stream"
)

const (
	// joinTimeout bounds the command, of 10 M events on a slow disk too, and the time until the node
	// is level.
	joinTimeout = 15 * time.Minute
	// levelEvery is how often the new node is asked how far it is.
	levelEvery = 50 * time.Millisecond
	// fillClients send what is there before the load, fillEvents a request.
	fillClients = 8
	fillEvents  = 1000
)

// fillCluster publishes what has to be in the cluster before the load. Its ids are of a stream of
// their own.
func (s *session) fillCluster(ctx context.Context) error {
	before := s.job.settings.Cluster.Before
	if before == 0 {
		return nil
	}
	s.status("fill", 0)
	s.run.Cluster.Before = before
	config := s.stream.Config()
	config.Seed, config.Duplicates = ^config.Seed, 0
	events, err := stream.New(config)
	if err != nil {
		return err
	}
	attempts := ledger.NewWriter(io.Discard)
	filling, err := attack.New(attack.Config{URL: s.aggregator.url, Others: s.replicas.urls(), Timeout: clusterAnswerTimeout, AckLevel: "journal", Stream: events,
		EventsPerRequest: fillEvents, Encoding: "json", Retry: attack.DefaultRetry(), Ledger: attempts,
		Phases: []attack.Phase{{Name: "fill", Clients: fillClients, Requests: (before + fillEvents - 1) / fillEvents, Measured: true}}})
	if err != nil {
		return errors.Join(err, attempts.Close())
	}
	_, err = filling.Run(ctx)
	if err = errors.Join(err, attempts.Close()); err != nil {
		return err
	}
	return s.replicas.level(ctx)
}

// rejoin kills the last node and removes all that it has, has it made anew from the first one, and
// starts it. It returns when every node is ready and the new one is level.
func (s *session) rejoin(ctx context.Context, fault scenario.Fault, startedAt time.Time) (*record.FaultTimes, error) {
	last := len(s.replicas.nodes) - 1
	a, machine := s.replicas.nodes[last], s.replicas.cluster.Machines[last]
	if !sleep(ctx, time.Until(startedAt.Add(time.Duration(fault.At)))) {
		return nil, ctx.Err()
	}
	since := func() int64 { return int64(time.Since(startedAt)) }
	times := &record.FaultTimes{Kind: fault.Kind, AtNS: since(), Join: &record.Join{}}
	if err := a.end(ctx, syscall.SIGKILL); err != nil {
		return nil, err
	}
	times.ExitedNS = since()
	if err := os.RemoveAll(machine.NodeConfig.Data); err != nil {
		return nil, err
	}
	if !sleep(ctx, time.Duration(fault.RestartAfter)) {
		return nil, ctx.Err()
	}
	now, err := s.aggregator.stats(ctx, false)
	if err != nil {
		return nil, err
	}
	times.Join.Before, times.Join.BeganNS = now.UniqueProcessed, since()
	bounded, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	if err := s.join(bounded, machine.NodeConfig.Data, machine.NodeName, machine.NodeConfig.Args[1]); err != nil {
		return nil, err
	}
	times.Join.JoinedNS = since()
	if info, err := os.Stat(filepath.Join(machine.NodeConfig.Data, databaseFile)); err == nil {
		times.Join.CopyBytes = uint64(info.Size())
	}
	restartedAt, err := a.start(ctx)
	if err != nil {
		return nil, err
	}
	times.RestartedNS = int64(restartedAt.Sub(startedAt))
	times.ReadyNS = since()
	if err := s.awaitLevel(bounded, a, times.Join); err != nil {
		return nil, err
	}
	times.Join.LevelNS = since()
	return times, nil
}

// databaseFile is the database's name in a data folder.
const databaseFile = "events.db"

// join runs the command that makes a replica from the first node. What it uses is the cluster's.
func (s *session) join(ctx context.Context, data, name, urls string) error {
	var said bytes.Buffer
	p, err := process.Start(ctx, process.Config{Binary: s.config.Aggregator, Plain: true, Ends: true, Log: &said,
		Args: []string{"cluster", "join", "-cluster", urls, "-data", data, "-from", s.aggregator.url, "-node", name}})
	if err != nil {
		return fmt.Errorf("cluster join: %w", err)
	}
	s.replicas.join(p)
	exit, err := p.Wait(ctx)
	if err == nil && exit.Code != 0 {
		err = errors.New(exit.String())
	}
	if err != nil {
		return fmt.Errorf("cluster join: %w: %s", err, bytes.TrimSpace(said.Bytes()))
	}
	return nil
}

// awaitLevel waits until a node is as far as the first one was a moment before.
func (s *session) awaitLevel(ctx context.Context, a *aggregator, j *record.Join) error {
	for looked := false; ; looked = true {
		first, err := s.aggregator.stats(ctx, false)
		if err != nil {
			return err
		}
		now, err := a.stats(ctx, false)
		if err != nil {
			return err
		}
		behind := first.Cluster.Position - min(first.Cluster.Position, now.Cluster.Position)
		if !looked {
			j.Behind = behind
		}
		j.LagSMax = max(j.LagSMax, now.Cluster.LagS)
		if behind == 0 {
			return nil
		}
		if !sleep(ctx, levelEvery) {
			return fmt.Errorf("the node that has joined is %d messages behind after %v", behind, joinTimeout)
		}
	}
}
