package aggregator

import (
	"strings"
	"testing"
	"time"
)

// TestClusterFlags: what would make replicas differ is refused, and what is of a cluster alone is
// refused without one.
func TestClusterFlags(t *testing.T) {
	for says, set := range map[string]func(c *Config){
		"":                       func(c *Config) {},
		"-dedup=table":           func(c *Config) { c.Dedup = "table" },
		"-layout=rows":           func(c *Config) { c.Layout, c.Retention = "rows", 0 },
		"-node=\"A\"":            func(c *Config) { c.Node = "A" },
		"-max-lag=0s":            func(c *Config) { c.MaxLag = 0 },
		"-node=\"a\", which is":  func(c *Config) { c.Cluster = "" },
		"-ack=replicated":        func(c *Config) { c.Cluster, c.Node, c.Ack = "", "", "replicated" },
		"-retention=1ms, want 0": func(c *Config) { c.Retention = time.Millisecond },
	} {
		c := DefaultConfig()
		c.Cluster, c.Node, c.Retention = "nats://127.0.0.1:1", "a", time.Hour
		set(&c)
		err := c.check()
		if says == "" {
			if err != nil {
				t.Errorf("a cluster with -retention: %v", err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}
