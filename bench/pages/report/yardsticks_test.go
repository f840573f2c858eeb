package report

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekali/bench/record"
	"sekali/loadgen/stream"
)

// syntheticYardsticks are Sekali, a system with a server, one within the client and one that is
// absent.
func syntheticYardsticks() record.Yardsticks {
	rounds := func(server bool, seconds ...float64) []record.YardstickRound {
		var all []record.YardstickRound
		for _, s := range seconds {
			r := record.YardstickRound{Events: 1_000_000, Expected: 800_000, Stored: 800_000, Seconds: s, ClientCPUS: s / 8}
			if server {
				cpu, memory := s, int64(200_000_000)
				r.ServerCPUS, r.ServerMemoryBytes = &cpu, &memory
			}
			all = append(all, r)
		}
		return all
	}
	return record.Yardsticks{
		StartedAt:   time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC),
		Environment: record.Environment{CPUModel: "synthetic", Cores: 2, Filesystem: "ext4", Fdatasync: record.Fdatasync{P50US: 300}, Commit: "0000000"},
		Stream:      stream.Config{Seed: 1, Duplicates: 0.2}, EventsPerRequest: 500,
		Systems: []record.Yardstick{
			{ID: record.Sekali, Name: "Sekali", Version: "1", Durable: "power loss", Dedup: "exact", Includes: "all", Settings: []string{"4 connections"}, Rounds: rounds(true, 4, 5, 4)},
			{ID: "table", Name: "A table", Version: "2", Durable: "power loss", Dedup: "none", Includes: "storing", Settings: []string{"large | transactions"}, Rounds: rounds(false, 2, 2, 2)},
			{ID: "other", Name: "Other", Version: "3", Durable: "nothing", Dedup: "a window", Includes: "all", Settings: []string{"a", "b"}, Rounds: rounds(true, 12, 10, 16)},
			{ID: "absent", Name: "Absent", Durable: "power loss", Dedup: "exact", Includes: "all", Skipped: "is not installed"},
		},
	}
}

func TestYardsticksAreRecomputed(t *testing.T) {
	dir := root(t)
	file := filepath.Join(dir, filepath.FromSlash(referenceDir), record.YardsticksFile)
	spoil(t, file, func(text []byte) []byte {
		return bytes.Replace(text, []byte(`"sekali_ratio": {
        "median": 3`), []byte(`"sekali_ratio": {
        "median": 9`), 1)
	})
	if same, out := verify(t, dir); same || !strings.Contains(out, record.YardsticksFile) || strings.Count(out, "\n") != 1 {
		t.Errorf("a ratio that does not follow from the rounds: %v\n%s", same, out)
	}
	spoil(t, file, func(text []byte) []byte {
		return bytes.Replace(text, []byte(`"stored": 800000`), []byte(`"stored": 799999`), 1)
	})
	if same, out := verify(t, dir); same || !strings.Contains(out, "799999 were stored") {
		t.Errorf("a round in which an event is missing: %v\n%s", same, out)
	}
}

// TestYardsticksShowBytes: beside the rates, unless no system's were measured.
func TestYardsticksShowBytes(t *testing.T) {
	y := syntheticYardsticks()
	b, err := besideOthers(&y)
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{b.Table(), b.Short()} {
		if strings.Contains(table, "bytes") {
			t.Errorf("no bytes were measured:\n%s", table)
		}
	}
	y.Systems[0].BytesWrittenPerEvent, y.Systems[0].BytesKeptPerEvent = 251, 77
	if b, err = besideOthers(&y); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{b.Table(), b.Short()} {
		rows := strings.Split(strings.TrimSpace(table), "\n")
		for i, want := range []string{" bytes written an event | bytes kept an event |", "---:|---:|", " | 251 | 77 |", " | " + withheld + " | " + withheld + " |"} {
			if !strings.HasSuffix(rows[i], want) || strings.Count(rows[i], "|") != strings.Count(rows[0], "|") {
				t.Errorf("line %d: %s, want it to end in %q", i, rows[i], want)
			}
		}
	}
	if rows := strings.Split(b.Table(), "\n"); strings.Count(rows[5], "|") != strings.Count(rows[0], "|") {
		t.Errorf("one that was skipped has other columns: %s", rows[5])
	}
}
