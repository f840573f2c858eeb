package api_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"sekali/aggregator"
	"sekali/aggregator/event"
	"sekali/aggregator/internal/api"
	"sekali/aggregator/pipeline"
)

// update writes the code's values into the table:
// go test ./aggregator/internal/api -run Limits -update
var update = flag.Bool("update", false, "write the limits of the code into docs/reference/limits.md")

const limitsPage = "../../../docs/reference/limits.md"

// written is how docs/reference/limits.md writes a limit.
func written(limit any) string {
	switch l := limit.(type) {
	case api.Bytes:
		for _, unit := range []struct {
			name  string
			bytes api.Bytes
		}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
			if l >= unit.bytes {
				return fmt.Sprintf("%d %s", l/unit.bytes, unit.name)
			}
		}
		return fmt.Sprintf("%d bytes", l)
	case time.Duration:
		if l >= time.Minute {
			return fmt.Sprintf("%d min", l/time.Minute)
		}
		return fmt.Sprintf("%d s", l/time.Second)
	case int:
		if l >= 1_000_000 {
			return fmt.Sprintf("%d %03d %03d", l/1_000_000, l/1000%1000, l%1000)
		}
		if l >= 10_000 {
			return fmt.Sprintf("%d %03d", l/1000, l%1000)
		}
	}
	return fmt.Sprint(limit)
}

// TestDocumentedLimits: the table of limits has the code's values, every one of them and no other.
func TestDocumentedLimits(t *testing.T) {
	limits, err := os.ReadFile(limitsPage)
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(limits), "| limit on | is | beyond it |\n|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := map[string]string{}
	for line := range strings.Lines(table + "\n") {
		cells := strings.Split(line, " | ")
		if len(cells) != 3 {
			t.Fatalf("not a row: %s", line)
		}
		rows[strings.TrimPrefix(cells[0], "| ")] = cells[1]
	}
	cfg := aggregator.DefaultConfig()
	flags := map[string]any{
		"-max-body-bytes": api.Bytes(cfg.MaxBodyBytes), "-queue-events": cfg.QueueEvents, "-queue-bytes": api.Bytes(cfg.QueueBytes),
		"-backlog-bytes": api.Bytes(cfg.BacklogBytes), "-batch-events": cfg.BatchEvents,
		"-max-streams": api.DefaultMaxStreams, "-log-keep": api.Bytes(cfg.LogKeep),
	}
	want := map[string]string{}
	for name, limit := range api.Limits {
		want[name] = written(limit)
	}
	want["events of a request"] = written(event.MaxEventsPerRequest)
	want["`topic`, `event_id`, `source`"] = written(api.Bytes(event.MaxTextBytes))
	want["bytes of a transaction's events"] = written(api.Bytes(pipeline.BatchBytes)) + ", or one request"
	want["the WAL, while a reader holds its snapshot: another process, or a backup"] = written(api.Bytes(pipeline.WALBytes)) + ", and the transaction that went over it"
	want["time that the data folder may be out of its place"] = written(pipeline.GoneFor)
	want["room that is left on the disk"] = fmt.Sprintf("%s and %d × what waits, in memory too", written(api.Bytes(pipeline.RoomLeast)), pipeline.RoomPerByte)
	for name, flag := range map[string]string{
		"one body, decompressed too": "-max-body-bytes", "events that wait in memory": "-queue-events", "bytes that wait in memory": "-queue-bytes",
		"bytes that wait in the journal": "-backlog-bytes", "events of a transaction": "-batch-events",
		"streams": "-max-streams",
		"what a node that is away holds of a cluster's log": "-log-keep",
	} {
		want[name] = written(flags[flag]) + " (`" + flag + "`)"
	}
	if *update {
		text := string(limits)
		for name, value := range want {
			text = strings.Replace(text, "| "+name+" | "+rows[name]+" |", "| "+name+" | "+value+" |", 1)
		}
		if err := os.WriteFile(limitsPage, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if !maps.Equal(rows, want) {
		for name := range want {
			if rows[name] != want[name] {
				t.Errorf("%s: limits.md has %q, the code %q: -update writes it", name, rows[name], want[name])
			}
		}
		for name := range rows {
			if want[name] == "" {
				t.Errorf("limits.md has a limit that is not checked: %s", name)
			}
		}
	}
	// The flags' table has the same defaults.
	reference, err := os.ReadFile("../../../docs/reference/flags.md")
	if err != nil {
		t.Fatal(err)
	}
	for flag, limit := range flags {
		row := regexp.MustCompile("(?m)^\\| `.*" + flag + "`.*$").FindString(string(reference))
		if !strings.Contains(row, written(limit)) {
			t.Errorf("%s: its row has not %q: %s", flag, written(limit), row)
		}
	}
}
