package main

import (
	"strings"
	"testing"
)

// TestCompletion: the script has every command's flags, and the words that some of them take.
func TestCompletion(t *testing.T) {
	var stdout, stderr strings.Builder
	if code := run(t.Context(), []string{"completion", "bash"}, &stdout, &stderr); code != 0 || stderr.Len() > 0 {
		t.Fatalf("exit %d, %q", code, stderr.String())
	}
	for _, line := range []string{
		`:-ack) COMPREPLY=($(compgen -W "memory journal store" -- "$cur")); return ;;`,
		`:-layout) COMPREPLY=($(compgen -W "blocks rows" -- "$cur")); return ;;`,
		`:-dedup) COMPREPLY=($(compgen -W "runs table" -- "$cur")); return ;;`,
		`:-log-level) COMPREPLY=($(compgen -W "debug info warn error" -- "$cur")); return ;;`,
		`'healthcheck') words='-url' ;;`, `'check') words='-data' ;;`, `'backup') words='-data -to' ;;`, `'mend-time') words='-data' ;;`,
		`'cluster') words='check forget init join new-epoch skip status -begin -cluster -cluster-ca -cluster-token-file -data -deep -from -log-bytes -node -nodes -peer-ca -peer-token-file -peers -position -replicas' ;;`,
		`'completion') words='bash zsh fish' ;;`,
	} {
		if !strings.Contains(stdout.String(), "\t"+line+"\n") {
			t.Errorf("not there: %s", line)
		}
	}
	if got := strings.Count(stdout.String(), "compgen -W"); got != 5 {
		t.Errorf("%d lists of words", got)
	}
	if code := run(t.Context(), []string{"completion", "tcsh"}, &stdout, &stderr); code != 2 || strings.Count(stderr.String(), "\n") != 1 {
		t.Errorf("exit %d, %q", code, stderr.String())
	}
}

// TestHelp: help is asked for in either way.
func TestHelp(t *testing.T) {
	var word, flag, stderr strings.Builder
	if a, b := run(t.Context(), []string{"help"}, &word, &stderr), run(t.Context(), []string{"-h"}, &flag, &stderr); a != 0 || b != 0 {
		t.Errorf("exits %d and %d: %s", a, b, stderr.String())
	}
	if word.String() != flag.String() || !strings.HasPrefix(word.String(), usage) {
		t.Errorf("help says\n%s", word.String())
	}
}
