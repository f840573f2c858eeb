package main

import (
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sekali/bench/experiment/ab"
	"sekali/bench/system/memoryserver"
)

func TestABUsage(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		says string
	}{
		"no A":        {[]string{"-scenario", "noise"}, "-a and -scenario are needed"},
		"no scenario": {[]string{"-a", "x"}, "-a and -scenario are needed"},
		"no repeat":   {[]string{"-a", "x", "-scenario", "x", "-repeat", "-1"}, "-repeat must be at least 1, not -1"},
		"no margin":   {[]string{"-a", "x", "-scenario", "x", "-margin", "0"}, "more than 0 and less than 100"},
		"no number":   {[]string{"-a", "x", "-scenario", "x", "-margin", "NaN"}, "more than 0 and less than 100"},
		"nothing":     {[]string{"-a", "/nonexistent", "-scenario", write(t, "tiny.yaml", scenarioText), "-out", t.TempDir()}, "-a /nonexistent: it is no program, no URL, no folder and no revision"},
		"no go.mod":   {[]string{"-a", ".", "-scenario", write(t, "tiny.yaml", scenarioText), "-out", t.TempDir()}, "-a .: the folder has no go.mod"},
	} {
		if exit, _, stderr := call(append([]string{"ab"}, test.args...)...); exit != 2 || !strings.Contains(stderr, test.says) {
			t.Errorf("%s: exit %d, %s", name, exit, stderr)
		}
	}
}

// TestABTakesTurns runs a server against itself: A B, B A, or B A, A B, and the comparison sees
// that they took turns.
func TestABTakesTurns(t *testing.T) {
	server := httptest.NewServer(memoryserver.New())
	defer server.Close()
	out := t.TempDir()
	exit, stdout, stderr := call("ab", "-a", server.URL, "-scenario", write(t, "tiny.yaml", scenarioText), "-repeat", "2", "-out", out)
	if exit != 3 {
		t.Errorf("exit %d, %s%s", exit, stdout, stderr)
	}
	// A busy machine may have pairs set aside, and more run.
	begun := regexp.MustCompile(`(?m)^([ab], [0-9]+) of [0-9]+$`)
	var order []string
	for _, line := range begun.FindAllStringSubmatch(stdout, -1) {
		order = append(order, line[1])
	}
	if got := strings.Join(order, "; "); !regexp.MustCompile(`^(?:a, 1; b, 1; b, 2; a, 2|b, 1; a, 1; a, 2; b, 2)(?:; |$)`).MatchString(got) {
		t.Errorf("order: %s", got)
	}
	for _, want := range []string{"The sides took turns", "Noise floor", "A against itself: not enough evidence"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("does not say %q:\n%s", want, stdout)
		}
	}
	pictures, err := filepath.Glob(filepath.Join(out, "runs", "ab-*", "pictures", "tiny.svg"))
	if err != nil || len(pictures) != 1 {
		t.Errorf("pictures: %q (%v)", pictures, err)
	}
	if left, err := filepath.Glob(filepath.Join(out, "runs", "ab-*", ab.File)); err != nil || len(left) != 1 {
		t.Errorf("%s: %q (%v)", ab.File, left, err)
	}
}
