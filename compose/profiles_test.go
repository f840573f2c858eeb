package compose_test

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"
	"time"
)

// TestProfiles: a plain `up` starts the aggregator and its publisher, and one with a profile what
// is of that profile alone. Nothing is built or started: every service has an empty image.
func TestProfiles(t *testing.T) {
	docker := findEngine(t)
	s := newStack(t, docker, goImage)
	var empty bytes.Buffer
	if err := tar.NewWriter(&empty).Close(); err != nil {
		t.Fatal(err)
	}
	const cluster = "cluster-init log-1 log-2 log-3 node-1 node-2 node-3"
	for _, service := range strings.Fields("aggregator bench publisher " + cluster) {
		for _, separator := range []string{"_", "-"} { // as docker-compose names images, and as docker compose does
			name := s.project + separator + service
			command := s.command("import", "--change", `CMD ["/none"]`, "-", name)
			command.Stdin = bytes.NewReader(empty.Bytes())
			if out, err := runBounded(command, time.Minute); err != nil {
				t.Fatalf("import: %v\n%s", err, out)
			}
			t.Cleanup(func() { _, _ = s.try(time.Minute, "image", "rm", "--force", name) }) // down may have
		}
	}
	for _, of := range []struct {
		profile []string
		want    string
	}{
		{nil, "aggregator publisher"},
		{[]string{"--profile", "cluster"}, cluster},
		{[]string{"--profile", "bench"}, "aggregator bench"},
	} {
		s.mustCompose(t, time.Minute, append(of.profile, "up", "--no-start")...)
		if got := s.made(t); got != of.want {
			t.Errorf("%v up makes %s, want %s", of.profile, got, of.want)
		}
		s.mustCompose(t, time.Minute, append(of.profile, "down", "--volumes")...)
	}
}
