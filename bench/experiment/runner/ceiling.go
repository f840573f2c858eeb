package runner

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"sekali/bench/scenario"
	"sekali/loadgen/attack"
	"sekali/loadgen/ledger"
)

const (
	// ceilingDuration is how long the generator is driven against the null server before each case.
	ceilingDuration = 300 * time.Millisecond
	// ceilingAheadBytes of bodies are built before that: a case builds more, and none of its time goes
	// into them.
	ceilingAheadBytes = 32 << 20
	// ceilingClients drive it where the case has an open loop.
	ceilingClients = 8
)

// measureCeiling drives the generator as the case will, with its bodies and clients, against a
// server that does nothing. That server takes its share of the same cores and the bodies are partly
// built in the timed span, so the ceiling is lower than what the generator could do: who stays
// under it is not held back by it.
func (s *session) measureCeiling(ctx context.Context, log io.Writer) error {
	if s.config.Self == "" || s.job.settings.Yardstick != scenario.NoYardstick { // which is the ceiling, measured for longer
		return nil
	}
	server, err := s.startNull(ctx, "memory", log)
	if err != nil {
		return fmt.Errorf("the generator's ceiling: %w", err)
	}
	defer func() {
		server.Kill()
		<-server.Exited()
	}()
	attempts := ledger.NewWriter(io.Discard)
	config := s.attackConfig(server.URL, "", attempts, nil)
	config.AckLevel, config.AheadBytes = "memory", ceilingAheadBytes
	config.Phases = []attack.Phase{{Name: "ceiling", Clients: ceilingClients, Duration: ceilingDuration, Measured: true}}
	if clients := s.job.settings.Load.Phases[s.firstMeasured()].Clients; clients > 0 {
		config.Phases[0].Clients = clients
	}
	load, err := attack.New(config)
	if err != nil {
		return fmt.Errorf("the generator's ceiling: %w", err)
	}
	summary, err := load.Run(ctx)
	if closeErr := attempts.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("the generator's ceiling: %w", err)
	}
	reached := summary.Phases[0]
	s.run.Generator.CeilingRequests, s.run.Generator.CeilingNS = reached.Acknowledged, reached.EndNS-reached.StartNS
	return nil
}

// Self is this program, for Config.Self.
func Self() string {
	path, err := os.Executable()
	if err != nil {
		return "" // without /proc; the ceiling is then not measured
	}
	return path
}
