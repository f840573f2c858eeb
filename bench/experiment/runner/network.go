package runner

import (
	"context"
	"io"
	"net"
	"slices"
	"time"

	"sekali/bench/record"
	"sekali/bench/scenario"
	"sekali/bench/system/process"
	"sekali/bench/system/wire"
)

// cannotReach says why publishers can have no such network on this machine; nil: they can, or need
// none.
func cannotReach(n scenario.Network) error {
	if n == (scenario.Network{}) {
		return nil
	}
	return wire.Cannot(limitOf(n))
}

func limitOf(n scenario.Network) wire.Limit {
	return wire.Limit{RTT: time.Duration(n.RTT), MbitPerS: n.MbitPerS}
}

// networkOf is what a scenario asks for, as run.json has it.
func networkOf(n scenario.Network) *record.Network {
	return &record.Network{RTTMS: time.Duration(n.RTT).Seconds() * 1e3, MbitPerS: n.MbitPerS}
}

// makeNetwork makes the network of publishers, if the scenario has one, and measures what it does.
func (s *session) makeNetwork(ctx context.Context) (err error) {
	asked := s.job.settings.Network
	if asked == (scenario.Network{}) {
		return nil
	}
	if s.wire, err = wire.Open(limitOf(asked)); err != nil {
		return err
	}
	does, err := s.wire.Measure(ctx)
	if err != nil {
		return err
	}
	n := networkOf(asked)
	n.MeasuredRTTMS, n.MeasuredMbitPerS = does.RTT.Seconds()*1e3, does.MbitPerS
	s.run.Environment.Network = n
	return nil
}

// processConfig is of one aggregator alone. It listens where its publishers are.
func (s *session) processConfig(log io.Writer) process.Config {
	config := process.Config{Binary: s.config.Aggregator, Args: s.run.Aggregator.Flags, Data: s.data, Log: log}
	if s.wire != nil {
		config.Listen = net.JoinHostPort(s.wire.Host(), "0")
		config.Args = append(slices.Clone(config.Args), "-insecure") // no token, although it is not the loopback
	}
	return config
}
