package ab

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sekali/bench/experiment/runner"
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
		found, err := find(ctx, given[i], filepath.Join(s.Out, "programs", name))
		if err != nil {
			return fmt.Errorf("-%s %s: %w", name, given[i], err)
		}
		s.sides[i] = side{name, found}
		if found.Commit != "" {
			fmt.Fprintf(s.stdout, "%s: built from %s\n", name, found.Commit)
		}
	}
	s.record.A, s.record.B = s.sides[0].Side, s.sides[1].Side
	return nil
}

// find takes a program or a URL as it is, and builds the aggregator of a folder with go.mod or of a
// revision of the git repository here into a folder of its own.
func find(ctx context.Context, given, into string) (Side, error) {
	found := Side{Given: given, Program: given}
	if runner.IsURL(given) {
		return found, nil
	}
	if info, err := os.Stat(given); err == nil {
		if !info.IsDir() {
			return found, nil
		}
		if _, err := os.Stat(filepath.Join(given, "go.mod")); err != nil {
			return found, fmt.Errorf("the folder has no go.mod, so there is nothing to build")
		}
		// Outside a repository it has no version, which a build does not need.
		described, _ := git(ctx, given, nil, "describe", "--always", "--dirty")
		found.Commit = cmp.Or(described, "a folder without git")
		found.Program, err = build(ctx, given, into, described)
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
	found.Program, err = build(ctx, tree, into, commit)
	return found, err
}

// build makes the aggregator as make build does, and returns its path.
func build(ctx context.Context, source, into, version string) (string, error) {
	into, err := filepath.Abs(into)
	if err != nil {
		return "", err
	}
	program := filepath.Join(into, "aggregator")
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-X main.version="+version, "-o", program, "./cmd/aggregator")
	command.Dir = source
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, bytes.TrimSpace(said))
	}
	return program, nil
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
