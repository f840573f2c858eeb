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
