package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/google/pprof/profile"

	"sekali/bench/record"
	"sekali/bench/scenario"
)

const (
	// profileSlice is what one CPU profile covers; slices are taken until the window has ended, and
	// merged. Between two, a few milliseconds are not seen.
	profileSlice = time.Second
	// profileTimeout is added to a profile's own time.
	profileTimeout = 30 * time.Second
)

// heapProfile collects first: what was allocated shows in a profile once a collection has ended.
const heapProfile = "heap?gc=1"

// windowProfiles count from the start of the process: what they said at the window's start is taken
// off.
var windowProfiles = []string{"allocs", "mutex", "block"}

// generatorProfile begins the names of the profiles of this process, which generates the load.
const generatorProfile = "generator-"

// profiles takes pprof profiles of the measured window, which ends when the last event is
// committed: the aggregator's and the generator's.
type profiles struct {
	ended   chan struct{}
	running sync.WaitGroup
	err     error                       // of the CPU profile; read after running
	before  map[string]*profile.Profile // negative
	faulty  bool

	generatorCPU    bytes.Buffer
	generatorBefore *profile.Profile // its allocations, negative
}

// begin starts the CPU profile, if profiles are asked for.
func (p *profiles) begin(ctx context.Context, s *session) {
	if !s.config.Profile {
		return
	}
	p.ended, p.before = make(chan struct{}), map[string]*profile.Profile{}
	// A fault ends the process that these would be of.
	if p.faulty = s.job.settings.Fault.Kind != scenario.NoFault; !p.faulty {
		if _, p.err = s.takeProfile(ctx, heapProfile, 0); p.err != nil {
			return
		}
		for _, name := range windowProfiles {
			if p.before[name], p.err = s.takeProfile(ctx, name, 0); p.err != nil {
				return
			}
			p.before[name].Scale(-1)
		}
	}
	if p.generatorBefore, p.err = ownAllocs(); p.err != nil {
		return
	}
	p.generatorBefore.Scale(-1)
	if p.err = pprof.StartCPUProfile(&p.generatorCPU); p.err != nil {
		return
	}
	p.running.Go(func() { p.err = p.cpu(ctx, s) })
}

// ownAllocs is what this process has allocated.
func ownAllocs() (*profile.Profile, error) {
	runtime.GC()
	var raw bytes.Buffer
	if err := pprof.Lookup("allocs").WriteTo(&raw, 0); err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	return profile.Parse(&raw)
}

// endGenerator saves this process's profiles.
func (p *profiles) endGenerator(s *session) error {
	pprof.StopCPUProfile()
	cpu, err := profile.Parse(&p.generatorCPU)
	if err != nil {
		return fmt.Errorf("profile: the generator's: %w", err)
	}
	after, err := ownAllocs()
	if err != nil {
		return err
	}
	return errors.Join(s.saveProfile(generatorProfile+"cpu", cpu), s.saveProfile(generatorProfile+"allocs", after, p.generatorBefore))
}

// cpu takes slice after slice until the window has ended.
func (p *profiles) cpu(ctx context.Context, s *session) error {
	var slices []*profile.Profile
	for {
		slice, err := s.takeProfile(ctx, fmt.Sprintf("profile?seconds=%d", int(profileSlice.Seconds())), profileSlice)
		if err != nil && p.faulty && len(slices) > 0 {
			return s.saveProfile("cpu", slices...) // what there was until the fault
		}
		if err != nil {
			return err
		}
		slices = append(slices, slice)
		select {
		case <-p.ended:
			return s.saveProfile("cpu", slices...)
		default:
		}
	}
}

// end waits for the CPU profile and takes the others.
func (p *profiles) end(ctx context.Context, s *session) error {
	if p.ended == nil {
		return nil
	}
	close(p.ended)
	p.running.Wait()
	if p.err != nil {
		pprof.StopCPUProfile()
		return p.err
	}
	err := p.endGenerator(s)
	heap, e := s.takeProfile(ctx, heapProfile, 0)
	if err = errors.Join(err, e); e == nil {
		err = errors.Join(err, s.saveProfile("heap", heap))
	}
	for _, name := range windowProfiles {
		after, e := s.takeProfile(ctx, name, 0)
		if err = errors.Join(err, e); e != nil {
			continue
		}
		all := []*profile.Profile{after}
		if before := p.before[name]; before != nil {
			all = append(all, before)
		}
		err = errors.Join(err, s.saveProfile(name, all...))
	}
	return errors.Join(err, s.saveStages(ctx))
}

// takeProfile asks the aggregator for a profile, which takes so long.
func (s *session) takeProfile(ctx context.Context, query string, takes time.Duration) (*profile.Profile, error) {
	raw, _, err := s.askAdmin(ctx, "/debug/pprof/"+query, takes)
	if err != nil {
		return nil, err
	}
	p, err := profile.ParseData(raw)
	if err != nil {
		return nil, fmt.Errorf("profile: %s: %w", query, err)
	}
	return p, nil
}

// saveStages keeps the aggregator's own table of stages beside the profiles. A build that has none
// gets none: its allocations are then told by function alone.
func (s *session) saveStages(ctx context.Context) error {
	table, status, err := s.askAdmin(ctx, "/debug/stages", 0)
	if status == http.StatusNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.dir, record.ProfilesDir, record.StagesFile), table, 0o644); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	return nil
}

// askAdmin asks the aggregator's admin listener for what takes so long; an answer but 200 is an
// error.
func (s *session) askAdmin(ctx context.Context, path string, takes time.Duration) (body []byte, status int, err error) {
	process := s.aggregator.process()
	if process == nil || process.Admin == "" {
		return nil, 0, errors.New("profile: the aggregator has no admin address")
	}
	bounded, cancel := context.WithTimeout(ctx, takes+profileTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(bounded, http.MethodGet, process.Admin+path, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("profile: %w", err)
	}
	answer, err := s.aggregator.client.Do(request)
	if err != nil {
		return nil, 0, fmt.Errorf("profile: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, answer.StatusCode, fmt.Errorf("profile: %s: %s", path, answer.Status)
	}
	if body, err = io.ReadAll(answer.Body); err != nil {
		return nil, answer.StatusCode, fmt.Errorf("profile: %s: %w", path, err)
	}
	return body, answer.StatusCode, nil
}

// saveProfile adds profiles up into profiles/<name>.pb.gz.
func (s *session) saveProfile(name string, all ...*profile.Profile) error {
	sum, err := profile.Merge(all)
	if err != nil {
		return fmt.Errorf("profile: %s: %w", name, err)
	}
	if err := os.MkdirAll(filepath.Join(s.dir, record.ProfilesDir), 0o755); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	file, err := os.Create(filepath.Join(s.dir, record.ProfilesDir, name+".pb.gz"))
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	if err := errors.Join(sum.Write(file), file.Close()); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	return nil
}
