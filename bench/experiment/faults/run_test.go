package faults

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sekali/bench/labtest/recordtest"
	"sekali/bench/record"
)

// fake is a kind that takes no process: of its trial nothing is lost.
func fake(name string, inject func(s *sitting) error) Kind {
	return Kind{Name: name, Promise: nothingLost, Short: 1, Long: 1, inject: inject}
}

func holds(s *sitting) error {
	s.record.Trials = append(s.record.Trials, recordtest.Trial(10, 0))
	return nil
}

func skips(*sitting) error { return skip("no such thing here") }

// TestRunAllShowsSomething: a kind that was skipped beside others does not matter, and all of them
// skipped show nothing.
func TestRunAllShowsSomething(t *testing.T) {
	for name, test := range map[string]struct {
		kinds []Kind
		held  bool
		why   string // of the error
	}{
		"one skipped": {[]Kind{fake("a", holds), fake("b", skips)}, true, ""},
		"all skipped": {[]Kind{fake("a", skips), fake("b", skips)}, false, "no such thing here"},
		"none":        {nil, false, "there is none of that name"},
	} {
		t.Run(name, func(t *testing.T) {
			held, err := RunAll(t.Context(), Config{Log: io.Discard}, test.kinds, regexp.MustCompile(""), t.TempDir(), io.Discard)
			if held != test.held || (err == nil) != (test.why == "") || err != nil && !strings.Contains(err.Error(), test.why) {
				t.Errorf("held %v, %v", held, err)
			}
		})
	}
}

// TestBrokenIsNotSkipped: what cannot go on after a fault was injected is an error, and what was
// broken by then does not become a kind that was skipped.
func TestBrokenIsNotSkipped(t *testing.T) {
	broken := fake("b", func(s *sitting) error {
		one, err := s.newTrial(t.TempDir(), everyLevel...)
		if err != nil {
			return err
		}
		one.injected()
		one.broken("nobody was answered")
		return skip("it has ended")
	})
	held, err := RunAll(t.Context(), Config{Log: io.Discard}, []Kind{fake("a", holds), broken}, regexp.MustCompile(""), t.TempDir(), io.Discard)
	if held || err == nil || !strings.Contains(err.Error(), "it has ended") {
		t.Errorf("held %v, %v", held, err)
	}
}

// TestNotGivenBack: what a kind leaves on the machine is an error, however it ended, and the rest
// is given back all the same.
func TestNotGivenBack(t *testing.T) {
	for name, inject := range map[string]func(s *sitting) error{"holds": holds, "skips": skips} {
		rest := false
		_, err := Run(t.Context(), Config{Log: io.Discard}, fake("a", func(s *sitting) error {
			s.onEnd(func() error { rest = true; return nil })
			s.onEnd(func() error { return errors.New("umount: busy") })
			return inject(s)
		}))
		if err == nil || !strings.Contains(err.Error(), "umount: busy") || !rest {
			t.Errorf("%s: %v, the rest was given back: %v", name, err, rest)
		}
	}
}

// TestRowOfWhatIsNotGivenBack: what a kind found lost is told, though it left something behind. One
// that was not tried to its end has no row.
func TestRowOfWhatIsNotGivenBack(t *testing.T) {
	busy := func(then func(s *sitting) error) func(s *sitting) error {
		return func(s *sitting) error {
			s.onEnd(func() error { return errors.New("umount: busy") })
			return then(s)
		}
	}
	loses := busy(func(s *sitting) error {
		s.record.Trials = append(s.record.Trials, recordtest.Trial(10, 3))
		return nil
	})
	fails := busy(func(*sitting) error { return errors.New("no start") })
	dir := t.TempDir()
	held, err := RunAll(t.Context(), Config{Log: io.Discard}, []Kind{fake("a", loses), fake("b", fails)}, regexp.MustCompile(""), dir, io.Discard)
	if held || err == nil || strings.Count(err.Error(), "umount: busy") != 2 || !strings.Contains(err.Error(), "no start") {
		t.Errorf("held %v, %v", held, err)
	}
	found, err := record.ReadFaults(filepath.Join(dir, FiguresFile))
	if err != nil || len(found.Faults) != 1 || found.Faults[0].Fault != "a" || found.Faults[0].Lost != 3 {
		t.Errorf("%+v, %v", found.Faults, err)
	}
}

// TestRunAllKeepsWhatIsNotItsOwn: neither somebody else's folder nor a name that is mistyped costs
// anybody anything.
func TestRunAllKeepsWhatIsNotItsOwn(t *testing.T) {
	for file, only := range map[string]string{"letters.txt": "", FiguresFile: "nothing"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, file), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := RunAll(t.Context(), Config{Log: io.Discard}, []Kind{fake("a", holds)}, regexp.MustCompile(only), dir, io.Discard)
		if _, gone := os.Stat(filepath.Join(dir, file)); err == nil || gone != nil {
			t.Errorf("%s: %v, %v", file, err, gone)
		}
	}
}

// TestRunAllInterrupted: what was found by then is written.
func TestRunAllInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	kinds := []Kind{fake("a", holds), fake("b", func(*sitting) error { cancel(); return nil }), fake("c", holds)}
	held, err := RunAll(ctx, Config{Log: io.Discard}, kinds, regexp.MustCompile(""), dir, io.Discard)
	if held || !errors.Is(err, context.Canceled) {
		t.Errorf("held %v, %v", held, err)
	}
	found, err := record.ReadFaults(filepath.Join(dir, FiguresFile))
	if err != nil || found.Planned != 3 || len(found.Faults) != 1 || len(found.Files) != 1 || found.Faults[0].Fault != "a" {
		t.Errorf("%+v, %v", found, err)
	}
	if table, err := os.ReadFile(filepath.Join(dir, TableFile)); err != nil || !strings.Contains(string(table), "\na ") {
		t.Errorf("%s, %v", table, err)
	}
}
