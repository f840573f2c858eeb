package integration_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestConflictsAreCounted: what says something else under an identity that is stored is a duplicate
// and a conflict, and the first stays; in one request, over several, and across a SIGKILL.
func TestConflictsAreCounted(t *testing.T) {
	for _, design := range []string{"runs", "table"} {
		t.Run(design, func(t *testing.T) {
			data := dataFolder(t)
			a := start(t, data, "-dedup", design)
			event := func(timestamp, source, payload string) string {
				return fmt.Sprintf(`{"topic":"t","event_id":"1","timestamp":%q,"source":%q,"payload":%s}`, timestamp, source, payload)
			}
			const at, later = "2026-11-23T06:41:10Z", "2026-11-23T06:41:11Z"
			first, other := event(at, "s", "1"), event(at, "s", "2")
			wants := func(a *aggregator, duplicates, conflicts int) {
				t.Helper()
				c := a.drained(t)
				body, err := a.get("/stats", "application/json")
				if err != nil {
					t.Fatal(err)
				}
				var stats struct{ Conflicts int }
				if err := json.Unmarshal(body, &stats); err != nil {
					t.Fatal(err)
				}
				metrics, err := metricsOf(t.Context(), a.client, a.Admin)
				if err != nil {
					t.Fatal(err)
				}
				if n, ok := metrics["sekali_conflicting_events_total"]; !ok || int(n) != conflicts {
					t.Fatalf("/metrics has %v conflicts, want %d", n, conflicts)
				}
				if c.Unique != 1 || c.Duplicates != duplicates || stats.Conflicts != conflicts {
					t.Fatalf("%+v, %d conflicts; want %d duplicates, %d of them conflicts", c, stats.Conflicts, duplicates, conflicts)
				}
			}
			a.mustPublish(t, []byte("["+first+","+first+","+other+"]"), "store")
			wants(a, 2, 1)
			for i, again := range []string{first, other, event(later, "s", "1"), event(at, "x", "1"), event(at, "s", " 1")} {
				a.mustPublish(t, []byte(again), "journal")
				wants(a, 3+i, 1+min(i, 3)) // white space around a payload is not part of it
			}
			a.kill()
			a = start(t, data)
			wants(a, 7, 4)
			a.mustPublish(t, []byte(other), "store") // the first is read back
			wants(a, 8, 5)
			if body := string(a.export(t)); strings.Count(body, "\n") != 1 || !strings.Contains(body, `"payload":1,`) {
				t.Fatal(body)
			}
			a.stop(t)
			if code, out := tool(t, "check", "-data", data); code != 0 || !strings.Contains(out, "8 duplicates dropped (5 of them conflicts)") {
				t.Fatalf("check: %d %s", code, out)
			}
		})
	}
}
