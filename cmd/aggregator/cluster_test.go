package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestUsageIsForWrongFlags: what is wrong with a cluster, or with a flag's value, is one line.
func TestUsageIsForWrongFlags(t *testing.T) {
	t.Setenv("SEKALI_CLUSTER", "") // that of whoever runs the tests
	for _, c := range []struct {
		args  []string
		says  string
		usage bool
	}{
		{[]string{"status", "-no-such-flag"}, "no-such-flag", true},
		{[]string{"no-such-command"}, "", true},
		{[]string{"init", "-cluster", "nats://127.0.0.1:1", "-nodes", "a"}, "two at least", false},
		{[]string{"forget", "-node", "zz"}, "-cluster is needed", false},
	} {
		var out, errs bytes.Buffer
		if code := clusterCommand(t.Context(), c.args, &out, &errs); code != 2 {
			t.Errorf("%v: exit %d", c.args, code)
		}
		if text := errs.String(); !strings.Contains(text, c.says) || strings.Contains(text, "usage:") != c.usage {
			t.Errorf("%v: %s", c.args, text)
		}
	}
}
