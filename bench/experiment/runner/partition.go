package runner

import (
	"context"
	"errors"
	"slices"
	"time"

	"sekali/bench/record"
	"sekali/bench/scenario"
	"sekali/bench/system/cluster"
)

// cuts are what a partition does to the machine of a role. The lab reaches every aggregator all the
// time: it asks the first one, and publishers try the next one only where an answer says so.
var cuts = map[string]func(*cluster.Network, int) error{
	scenario.RoleNode:      (*cluster.Network).WithoutLog,
	scenario.LogLeader:     (*cluster.Network).LogApart,
	scenario.LogFollower:   (*cluster.Network).LogApart,
	scenario.LeaderMachine: (*cluster.Network).Apart,
}

// partition cuts who has a role in the cluster off from the other machines, for as long as the
// fault says, and returns when every node is ready after it.
func (s *session) partition(ctx context.Context, fault scenario.Fault, startedAt time.Time) (*record.FaultTimes, error) {
	l, _, err := s.replicas.named(ctx, fault.Role)
	if err != nil {
		return nil, err
	}
	machine := max(slices.Index(s.replicas.logs, l), 0) // of RoleNode there is no log server: it is the first
	if !sleep(ctx, time.Until(startedAt.Add(time.Duration(fault.At)))) {
		return nil, ctx.Err()
	}
	since := func() int64 { return int64(time.Since(startedAt)) }
	times := &record.FaultTimes{Kind: fault.Kind, Role: fault.Role, AtNS: since()}
	if err := cuts[fault.Role](s.network, machine); err != nil {
		return nil, err
	}
	slept := sleep(ctx, time.Duration(fault.For))
	times.RestartedNS = since()
	if err := s.network.Heal(machine); err != nil || !slept {
		return nil, errors.Join(err, ctx.Err())
	}
	if err := s.replicas.awaitReady(ctx); err != nil {
		return nil, err
	}
	times.ReadyNS = since()
	return times, nil
}
