package main

import (
	"os"
	"testing"

	"github.com/goccy/go-yaml"

	"sekali/aggregator"
)

// TestComposeMemoryLimit: docker-compose.yml leaves room beside the heap, for what SQLite, stacks
// and the kernel take.
func TestComposeMemoryLimit(t *testing.T) {
	const margin = 512 << 20
	text, err := os.ReadFile("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct {
			MemLimit string `yaml:"mem_limit"`
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	want := (heapBeyondQueue + aggregator.DefaultConfig().QueueBytes + margin) >> 20
	if got := file.Services["aggregator"].MemLimit; got != "1536m" || want != 1536 {
		t.Errorf("mem_limit is %s; the heap's limit and a margin of %d MiB are %d MiB", got, margin>>20, want)
	}
}

// TestGrowthBesideFilters: however many keys there are, the heap grows by about as many bytes
// before it is collected, and by one per cent at least.
func TestGrowthBesideFilters(t *testing.T) {
	for bytes, want := range map[int64]int{0: 50, 34 << 20: 44, 520 << 20: 16, 1600 << 20: 6, 100 << 30: 1} {
		if got := growthBeside(bytes); got != want {
			t.Errorf("beside %d MiB: %d per cent, want %d", bytes>>20, got, want)
		}
	}
}
