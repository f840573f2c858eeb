package runner

import (
	"fmt"
	"path/filepath"
	"slices"

	"sekali/bench/record"
	"sekali/bench/scenario"
	"sekali/loadgen/stream"
)

// profileFlag is added to the aggregator's flags when it is profiled.
const profileFlag = "-profile-contention"

// Replay makes c run again what a run.json records, and nothing else: its scenario's text, and of
// that its one case. Seed, schedule, payloads, duplicates, the planned moment of the fault and the
// flags all follow from the text. Since run.json also has what the recording program made of it, a
// program that makes something else of it refuses.
func (c *Config) Replay(path string) (record.Run, error) {
	dir := path
	if filepath.Base(path) == record.RunFile {
		dir = filepath.Dir(path)
	}
	run, err := record.ReadRun(dir)
	refuse := func(format string, args ...any) (record.Run, error) {
		return run, fmt.Errorf("%s cannot be replayed: %s", path, fmt.Sprintf(format, args...))
	}
	if err != nil {
		return refuse("%v", err)
	}
	if run.Aggregator.External {
		return refuse("it loaded a server that was running already, and does not say how that was started nor what it held")
	}
	if c.external() {
		return refuse("-aggregator must be a program, to be started with the flags of the run")
	}
	s, err := scenarioOf(run)
	if err != nil {
		return refuse("%v", err)
	}
	s.Path = run.Scenario.Path
	c.Scenarios, c.Profile = []*scenario.Scenario{s}, slices.Contains(run.Aggregator.Flags, profileFlag)
	planned, err := plan(s.Cases[0].Settings, c.Profile)
	if err != nil {
		return refuse("%v", err)
	}
	recorded := recordedPlan(run)
	for i, part := range planned {
		if part != recorded[i] {
			return refuse("its %s; by the text of its scenario, as this version reads it, the %s", recorded[i], part)
		}
	}
	return run, nil
}

// plan is everything that a run is determined by, part by part, as text.
func plan(s scenario.Settings, profiled bool) ([]string, error) {
	events, err := stream.New(s.Stream)
	if err != nil {
		return nil, err
	}
	run := record.Run{Stream: events.Config(), Aggregator: record.Aggregator{Ack: s.Aggregator.Ack, Flags: flagsOf(s, profiled)},
		Load: loadOf(s)}
	for _, p := range s.Load.Phases {
		run.Phases = append(run.Phases, record.PhaseTimes{Name: p.Name, Rate: float64(p.Rate), Arrivals: arrivals(p), Clients: p.Clients, Measured: p.Measured})
	}
	if s.Fault.Kind != scenario.NoFault {
		run.Fault = &record.FaultTimes{Kind: s.Fault.Kind, Role: s.Fault.Role}
	}
	run.Environment.TmpfsIsAllowed = s.Fault.Kind == scenario.DiskFull
	if s.Cluster.Nodes > 0 {
		run.Cluster = clusterOf(s.Cluster)
	}
	if s.Disk != (scenario.Disk{}) {
		run.Environment.Disk = &record.Disk{MBPerS: s.Disk.MBPerS, OperationsPerS: s.Disk.OperationsPerS}
	}
	if s.Network != (scenario.Network{}) {
		run.Environment.Network = networkOf(s.Network)
	}
	run.Readers = readersOf(s)
	if s.Yardstick != scenario.NoYardstick {
		run.Yardstick = &record.YardstickRun{Kind: s.Yardstick}
	}
	return recordedPlan(run), nil
}

// The places of two parts of a plan.
const (
	planStream = 0
	planFlags  = 3
)

// recordedPlan has as many parts for every run.
func recordedPlan(run record.Run) []string {
	parts := []string{
		fmt.Sprintf("stream is %+v", run.Stream),
		fmt.Sprintf("load is %+v", run.Load),
		fmt.Sprintf("ack level is %s", run.Aggregator.Ack),
		flagsText(run.Aggregator.Flags),
	}
	phases := "phases are"
	for _, p := range run.Phases {
		phases += fmt.Sprintf(" {%s rate %g/s clients %d measured %t}", p.Name, p.Rate, p.Clients, p.Measured)
		if p.Arrivals != "" {
			phases += " " + p.Arrivals
		}
	}
	fault := scenario.NoFault
	if run.Fault != nil {
		fault = run.Fault.Kind
	}
	cluster, disk, yardstick := record.Cluster{}, record.Disk{}, scenario.NoYardstick
	if run.Yardstick != nil {
		yardstick = run.Yardstick.Kind
	}
	if run.Cluster != nil {
		cluster = *run.Cluster
	}
	if run.Environment.Disk != nil {
		disk = *run.Environment.Disk
	}
	if run.Fault != nil && run.Fault.Role != "" {
		fault += " of the " + run.Fault.Role
	}
	return append(parts, clusterText(cluster), fmt.Sprintf("disk is held to %d MB/s and %d operations/s", disk.MBPerS, disk.OperationsPerS),
		fmt.Sprintf("tmpfs is allowed: %t", run.Environment.TmpfsIsAllowed),
		"network is "+run.Environment.Network.String(), "yardstick is "+yardstick, fmt.Sprintf("readers are %+v", run.Readers), phases, "fault is "+fault)
}

func flagsText(flags []string) string { return fmt.Sprintf("flags are %q", flags) }

// clusterText is a cluster as a part of the plan. What a record does not say is the default.
func clusterText(c record.Cluster) string {
	text := fmt.Sprintf("cluster has %d nodes", c.Nodes)
	if c.Replicas > 0 {
		text += fmt.Sprintf(", %d copies of the log", c.Replicas)
	}
	if c.Sync != "" {
		text += ", log servers that sync " + c.Sync
	}
	return text
}

// loadOf and flagsOf are a case's settings as run.json has them.
func loadOf(s scenario.Settings) record.Load {
	load := record.Load{EventsPerRequest: s.Load.EventsPerRequest, Encoding: s.Load.Encoding, Compression: s.Load.Compression}
	if s.Load.Client != scenario.Vegeta {
		load.Client = s.Load.Client
	}
	return load
}

func flagsOf(s scenario.Settings, profiled bool) []string {
	flags := s.Aggregator.Flags()
	if profiled {
		flags = append(flags, profileFlag)
	}
	return flags
}
