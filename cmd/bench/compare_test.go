package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestCompareOfNothing: what is not there is a mistake in the command, and no verdict.
func TestCompareOfNothing(t *testing.T) {
	empty := t.TempDir()
	for _, args := range [][]string{{empty, empty}, {empty + "/missing", empty}, {empty}} {
		var stdout, stderr bytes.Buffer
		if exit := compareRuns(t.Context(), append([]string{"-pictures", ""}, args...), &stdout, &stderr); exit != 2 || stderr.Len() == 0 {
			t.Errorf("%q: exit %d, %s", args, exit, strings.TrimSpace(stderr.String()))
		}
	}
}
