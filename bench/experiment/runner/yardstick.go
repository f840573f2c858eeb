package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"sekali/bench/record"
	"sekali/bench/scenario"
	"sekali/bench/system/nullserver"
	"sekali/bench/system/process"
	"sekali/loadgen/attack"
	"sekali/loadgen/ledger"
)

// startNull starts a server that only answers, with an acknowledgement of the case's requests.
func (s *session) startNull(ctx context.Context, ack string, log io.Writer) (*process.Process, error) {
	return process.Start(ctx, process.Config{Binary: s.config.Self, Command: nullserver.Command, Log: log,
		Args: []string{"-events", strconv.Itoa(s.job.settings.Load.EventsPerRequest), "-ack", ack}})
}

// measureYardstick gives the case's load to a server that only answers, so that both are seen by
// the same clients within a minute.
func (s *session) measureYardstick(ctx context.Context, log io.Writer) (err error) {
	if s.job.settings.Yardstick == scenario.NoYardstick {
		return nil
	}
	if s.config.Self == "" {
		return errors.New("the yardstick: this program does not know its own path")
	}
	s.status("yardstick", 0)
	ack := s.job.settings.Aggregator.Ack
	server, err := s.startNull(ctx, ack, log)
	if err != nil {
		return fmt.Errorf("the yardstick: %w", err)
	}
	defer func() {
		server.Kill()
		<-server.Exited()
	}()
	file, err := os.Create(filepath.Join(s.dir, record.YardstickFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	attempts := ledger.NewWriter(file)
	load, err := attack.New(s.attackConfig(server.URL, "", attempts, nil))
	var summary attack.Summary
	if err == nil {
		summary, err = load.Run(ctx)
	}
	if err := errors.Join(err, attempts.Close()); err != nil {
		return fmt.Errorf("the yardstick: %w", err)
	}
	used, err := server.Usage()
	if err != nil {
		return err
	}
	s.run.Yardstick = &record.YardstickRun{Kind: s.job.settings.Yardstick, Phases: phaseTimes(s.job.settings.Load.Phases, summary), ServerCPUNS: used.CPUNS}
	return nil
}
