package main

import (
	"strings"
	"testing"
)

// TestCompletion: the script has each command that people type, with its flags.
func TestCompletion(t *testing.T) {
	exit, stdout, stderr := call("completion", "bash")
	if exit != 0 || stderr != "" {
		t.Fatalf("exit %d, %q", exit, stderr)
	}
	found := 0
	for name := range commands {
		if !strings.HasPrefix(name, "-") && strings.Contains(stdout, "\t'"+name+"') words='-") {
			found++
		}
	}
	if people := strings.Count(usage, "\n  "); found != people {
		t.Errorf("%d commands with flags, and usage has %d", found, people)
	}
	if !strings.Contains(stdout, "run:-scenario) ") || !strings.Contains(stdout, " -scenario") {
		t.Errorf("no -scenario in %s", stdout)
	}
}
