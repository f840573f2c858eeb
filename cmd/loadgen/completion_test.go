package main

import (
	"strings"
	"testing"
)

// TestCompletion: the script has both commands' flags.
func TestCompletion(t *testing.T) {
	var stdout, stderr strings.Builder
	if code := run(t.Context(), []string{"completion", "bash"}, &stdout, &stderr); code != 0 || stderr.Len() > 0 {
		t.Fatalf("exit %d, %q", code, stderr.String())
	}
	for _, part := range []string{
		`publish:-ack) COMPREPLY=($(compgen -W "memory journal replicated store" -- "$cur")); return ;;`,
		`'follow') words='-after -config -state -token-file -topic -url' ;;`, `'') words='publish follow completion' ;;`,
	} {
		if !strings.Contains(stdout.String(), "\t"+part+"\n") {
			t.Errorf("not there: %s", part)
		}
	}
}
