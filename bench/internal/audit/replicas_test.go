package audit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// replica gives lines as Read does: one event, whose memory is used again.
func replica(name string, lines []string) Replica {
	return Replica{name, Read(strings.NewReader(strings.Join(lines, "\n")))}
}

// TestReplicas: what one of three lacks, has more, or has otherwise is found, and named.
func TestReplicas(t *testing.T) {
	var whole []string
	for seq := 1; seq <= 1000; seq++ {
		whole = append(whole, fmt.Sprintf(`{"seq":%d,"topic":"t","event_id":"e%d","timestamp":"T","source":"s","payload":{"n":%d},"received_at":"R%d"}`, seq, seq, seq, seq))
	}
	for _, c := range []struct {
		name            string
		spoil           func(lines []string) []string
		missing, differ uint64
		says            string
	}{
		{"the same", func(l []string) []string { return l }, 0, 0, ""},
		{"the last is missing", func(l []string) []string { return l[:999] }, 1, 0, "seq 1000 (t/e1000) is in b and not in a"},
		{"one in the middle is missing", func(l []string) []string { return slices.Delete(l, 499, 500) }, 1, 0, "seq 500 (t/e500)"},
		{"nothing is there", func([]string) []string { return nil }, 1000, 0, "seq 1 (t/e1)"},
		{"one more", func(l []string) []string { return append(l, strings.ReplaceAll(l[999], "1000", "1001")) }, 2, 0, "is in a and not in b"},
		{"another payload", func(l []string) []string { l[7] = strings.Replace(l[7], `"n":8`, `"n":9`, 1); return l }, 0, 2, "seq 8 is t/e8"},
		{"another time", func(l []string) []string { l[7] = strings.Replace(l[7], `R8`, `R9`, 1); return l }, 0, 2, "of R9"},
		{"two seqs swapped", func(l []string) []string {
			l[0], l[1] = strings.Replace(l[1], `"seq":2`, `"seq":1`, 1), strings.Replace(l[0], `"seq":1,`, `"seq":2,`, 1)
			return l
		}, 0, 4, "seq 1 is t/e2"},
	} {
		checks, findings, err := CompareReplicas([]Replica{replica("a", c.spoil(slices.Clone(whole))), replica("b", whole), replica("c", whole)})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if checks[0].Got != c.missing || checks[1].Got != c.differ || checks[0].Held != (c.missing == 0) || checks[1].Held != (c.differ == 0) {
			t.Errorf("%s: %v", c.name, checks)
		}
		if (len(findings) == 0) != (c.says == "") || len(findings) > maxFindings || c.says != "" && !strings.Contains(findings[0], c.says) {
			t.Errorf("%s: %q, want %q", c.name, findings, c.says)
		}
	}
	broken := Replica{"d", func(yield func(*Event, error) bool) { yield(nil, errors.New("broken off")) }}
	if _, _, err := CompareReplicas([]Replica{replica("a", whole), broken}); err == nil || !strings.Contains(err.Error(), "replica d: broken off") {
		t.Errorf("a replica that cannot be read: %v", err)
	}
	backwards := replica("e", []string{whole[1], whole[0]})
	if _, _, err := CompareReplicas([]Replica{replica("a", whole), backwards}); err == nil || !strings.Contains(err.Error(), "seq 1 follows 2") {
		t.Errorf("a replica out of order: %v", err)
	}
}
