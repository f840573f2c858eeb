package ab

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sekali/bench/experiment/runner"
	"sekali/bench/internal/machine"
	"sekali/bench/record"
)

// side is one of the two aggregators, and the name of its folder.
type side struct {
	name string
	Side
}

// prepare finds or builds both programs.
func (s *sitting) prepare(ctx context.Context) error {
	given := [2]string{s.A, cmp.Or(s.B, s.A)}
	for i, name := range []string{"a", "b"} {
		if i == 1 && given[1] == given[0] {
			s.sides[1] = side{name, s.sides[0].Side}
			break
		}
		found, err := find(ctx, given[i], filepath.Join(s.Out, "programs", name), s.wantsLog())
		if err != nil {
			return fmt.Errorf("-%s %s: %w", name, given[i], err)
		}
		found.Uncommitted = uncommitted(found)
		s.sides[i] = side{name, found}
		if found.Commit != "" {
			fmt.Fprintf(s.stdout, "%s: built from %s\n", name, found.Commit)
		}
	}
	s.lab = machine.Read(s.Runner.Version).Dirty
	return nil
}

// wantsLog says that a case has a cluster, and so log servers.
func (s *sitting) wantsLog() bool {
	for _, one := range s.Runner.Scenarios {
		for _, c := range one.Cases {
			if c.Settings.Cluster.Nodes > 0 {
				return true
			}
		}
	}
	return false
}

// uncommitted says that a program was built with changes that are not committed, as far as its
// stamps or git say so. Of a URL nothing is known before its first run.
func uncommitted(s Side) bool {
	var stamped record.Environment
	machine.AddProgram(&stamped, s.Program)
	return stamped.Dirty || isDirty(s.Commit)
}

// isDirty says that git described a tree with changes.
func isDirty(version string) bool { return strings.HasSuffix(version, "-dirty") }

// sayUncommitted warns of figures that nobody can make again, before the first run and beside the
// verdict. It takes no verdict away: who changes something wants to know before the commit.
func (s *sitting) sayUncommitted() {
	var of []string
	for _, side := range s.sides {
		if side.Uncommitted {
			of = append(of, side.name)
		}
	}
	if s.lab {
		of = append(of, "the lab")
	}
	if len(of) > 0 {
		fmt.Fprintf(s.stdout, "WARNING: built with changes that are not committed: %s. Nobody can make these figures again. The runs are called INVALID for it, and are compared all the same.\n",
			strings.Join(of, ", "))
	}
}

// find takes a URL as it is. It copies a program, and builds the aggregator of a folder with go.mod
// or of a revision of the git repository here, and its log server if a case wants one, into a
// folder of its own: a make build meanwhile leaves the side what it is.
func find(ctx context.Context, given, into string, log bool) (Side, error) {
	found := Side{Given: given, Program: given}
	if runner.IsURL(given) {
		return found, nil
	}
	if info, err := os.Stat(given); err == nil {
		if !info.IsDir() {
			found.Program, err = copyProgram(given, into)
			return found, err
		}
		if _, err := os.Stat(filepath.Join(given, "go.mod")); err != nil {
			return found, fmt.Errorf("the folder has no go.mod, so there is nothing to build")
		}
		// Outside a repository it has no version, which a build does not need.
		described, _ := git(ctx, given, nil, "describe", "--always", "--dirty")
		found.Commit = cmp.Or(described, "a folder without git")
		found.Program, err = build(ctx, given, into, described, log)
		return found, err
	}
	commit, err := git(ctx, ".", nil, "rev-parse", "--verify", "--quiet", given+"^{commit}")
	if err != nil {
		return found, fmt.Errorf("it is no program, no URL, no folder and no revision of git here")
	}
	found.Commit = commit
	tree, err := os.MkdirTemp("", "sekali-ab-")
	if err != nil {
		return found, err
	}
	defer os.RemoveAll(tree)
	// An index of its own leaves the one of the repository alone.
	index := []string{"GIT_INDEX_FILE=" + filepath.Join(tree, ".index")}
	top, err := git(ctx, ".", nil, "rev-parse", "--show-toplevel")
	if err != nil {
		return found, err
	}
	if _, err := git(ctx, top, index, "read-tree", commit); err != nil {
		return found, err
	}
	if _, err := git(ctx, top, index, "checkout-index", "--all", "--prefix="+tree+"/"); err != nil {
		return found, err
	}
	found.Program, err = build(ctx, tree, into, commit, log)
	return found, err
}

// copyProgram copies a program, and the log server that a cluster's cases look for beside it, and
// returns its path.
func copyProgram(given, into string) (string, error) {
	into, err := filepath.Abs(into)
	if err != nil {
		return "", err
	}
	program := filepath.Join(into, "aggregator")
	if err := errors.Join(os.MkdirAll(into, 0o755), copyFile(given, program)); err != nil {
		return "", err
	}
	err = copyFile(runner.LogProgram(given), runner.LogProgram(program))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return program, err
}

func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, info.Mode().Perm())
}

// build makes the aggregator as make build does, and the log server as make log does, and returns
// the aggregator's path.
func build(ctx context.Context, source, into, version string, log bool) (string, error) {
	into, err := filepath.Abs(into)
	if err != nil {
		return "", err
	}
	program := filepath.Join(into, "aggregator")
	err = goBuild(ctx, source, "./cmd/aggregator", program, version)
	if err == nil && log {
		err = goBuild(ctx, filepath.Join(source, "sekali-log"), ".", runner.LogProgram(program), version)
	}
	return program, err
}

// goBuild builds what is in a folder of a module.
func goBuild(ctx context.Context, module, folder, program, version string) error {
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-X main.version="+version, "-o", program, folder)
	command.Dir = module
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, bytes.TrimSpace(said))
	}
	return nil
}

// git returns what a command of git says, without the end of the line.
func git(ctx context.Context, dir string, environment []string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, "git", args...)
	command.Dir = dir
	command.Env = append(os.Environ(), environment...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	said, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w %s", args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSpace(string(said)), nil
}
