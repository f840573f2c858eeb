package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sekali/bench/result"
)

const (
	// closedLoopProfile is how long the CPU is profiled where the measured phases have no planned duration.
	closedLoopProfile = 2 * time.Second
	// profileTimeout is added to a profile's own time.
	profileTimeout = 30 * time.Second
)

// snapshotProfiles are taken at the end; what they count began with the process.
var snapshotProfiles = []string{"heap", "allocs", "mutex", "block"}

// profiles takes the aggregator's pprof profiles: the CPU's over the measured phases, the others at their end.
type profiles struct {
	running sync.WaitGroup
	err     error // of the CPU profile; read after running
}

// begin starts the CPU profile, if profiles are asked for.
func (p *profiles) begin(ctx context.Context, s *session) {
	if !s.config.Profile {
		return
	}
	var measured time.Duration
	for _, phase := range s.job.settings.Load.Phases {
		if phase.Measured {
			measured += time.Duration(phase.Duration)
		}
	}
	if measured == 0 {
		measured = closedLoopProfile
	}
	wholeSeconds := int(math.Ceil(measured.Seconds()))
	p.running.Go(func() {
		p.err = s.saveProfile(ctx, "cpu", fmt.Sprintf("profile?seconds=%d", wholeSeconds), time.Duration(wholeSeconds)*time.Second)
	})
}

// end waits for the CPU profile and takes the others.
func (p *profiles) end(ctx context.Context, s *session) error {
	if !s.config.Profile {
		return nil
	}
	p.running.Wait()
	err := p.err
	for _, name := range snapshotProfiles {
		err = errors.Join(err, s.saveProfile(ctx, name, name, 0))
	}
	return err
}

// saveProfile writes one profile to profiles/<name>.pb.gz.
func (s *session) saveProfile(ctx context.Context, name, query string, takes time.Duration) error {
	process := s.aggregator.process()
	if process == nil || process.Admin == "" {
		return errors.New("profile: the aggregator has no admin address")
	}
	bounded, cancel := context.WithTimeout(ctx, takes+profileTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(bounded, http.MethodGet, process.Admin+"/debug/pprof/"+query, nil)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	answer, err := s.aggregator.client.Do(request)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: %s: %s", query, answer.Status)
	}
	if err := os.MkdirAll(filepath.Join(s.dir, result.ProfilesDir), 0o755); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	file, err := os.Create(filepath.Join(s.dir, result.ProfilesDir, name+".pb.gz"))
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	_, err = io.Copy(file, answer.Body)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	return nil
}
