package scenario

import (
	"strings"
	"testing"
)

// TestCluster: what a cluster may have, and what goes only with one.
func TestCluster(t *testing.T) {
	const file = "name: c\nquestion: Which?\nload: {events_per_request: 5, phases: [{name: m, rate: 10/s, duration: 9s, measured: true}]}\n"
	for text, says := range map[string]string{
		"cluster: {nodes: 3}\n":                           "",
		"cluster: {nodes: 5}\naggregator: {ack: store}\n": "",
		"cluster: {nodes: 3}\nfault: {kind: sigkill, role: log-leader, at: 2s, restart_after: 1s}\n": "",
		"cluster: {nodes: 3}\nfault: {kind: sigterm, role: leader-machine, at: 2s}\n":                "",
		"cluster: {nodes: 2}\n":                                                                                 "4:18: cluster.nodes: must be 3 or 5, not 2",
		"cluster: {nodes: 0}\naggregator: {ack: replicated}\n":                                                  `"replicated" is not one of memory, journal, store`,
		"aggregator: {ack: replicated}\n":                                                                       `"replicated" is not one of`,
		"fault: {kind: sigkill, role: node, at: 2s}\n":                                                          "fault.role: goes with a kind, and with cluster.nodes",
		"cluster: {nodes: 3}\nfault: {role: node}\n":                                                            "fault.role: goes with a kind",
		"cluster: {nodes: 3}\nfault: {kind: sigkill, at: 2s}\n":                                                 `fault.role: "" is not one of node, log-leader`,
		"cluster: {nodes: 3}\nfault: {kind: sigkill, role: follower, at: 2s}\n":                                 `"follower" is not one of node, log-leader`,
		"cluster: {nodes: 3}\nfault: {kind: slow-disk, role: node, at: 2s, for: 1s}\n":                          "slow-disk is of one aggregator alone",
		"cluster: {nodes: 3, replicas: 1, sync: always}\naggregator: {ack: store}\n":                            "",
		"cluster: {nodes: 3, replicas: 2}\n":                                                                    "cluster.replicas: must be 1 or 3, not 2",
		"cluster: {replicas: 1}\n":                                                                              "cluster.replicas: goes with cluster.nodes",
		"cluster: {sync: lazy}\n":                                                                               "cluster.sync: goes with cluster.nodes",
		"cluster: {nodes: 3, sync: never}\n":                                                                    `"never" is not one of always, lazy`,
		"cluster: {nodes: 3, sync: lazy}\n":                                                                     "cluster.sync: lazy goes with aggregator.ack journal or memory",
		"cluster: {nodes: 3, before: 1000}\nfault: {kind: join, at: 2s}\n":                                      "",
		"cluster: {before: 1000}\n":                                                                             "cluster.before: goes with cluster.nodes",
		"cluster: {nodes: 3, before: 2000000000}\n":                                                             "cluster.before: must be",
		"fault: {kind: join, at: 2s}\n":                                                                         "fault.kind: join goes with cluster.nodes",
		"cluster: {nodes: 3}\nfault: {kind: join, role: node, at: 2s}\n":                                        "fault.role: goes with sigterm",
		"cluster: {nodes: 3}\nfault: {kind: partition, role: leader-machine, at: 2s, for: 3s}\n":                "",
		"cluster: {nodes: 3}\nfault: {kind: partition, role: log-leader, at: 2s}\n":                             "fault: for is missing",
		"cluster: {nodes: 3}\nfault: {kind: partition, role: log-leader, at: 2s, for: 7s}\n":                    "fault.at: 9s is not within the load",
		"cluster: {nodes: 3}\nfault: {kind: partition, role: log-leader, at: 2s, for: 1s, restart_after: 1s}\n": "partition ends no process",
		"cluster: {nodes: 3}\nfault: {kind: partition, at: 2s, for: 1s}\n":                                      `fault.role: "" is not one of node`,
		"fault: {kind: partition, at: 2s, for: 1s}\n":                                                           "partition goes with cluster.nodes",
		"cluster: {nodes: 3}\nfault: {kind: sigkill, role: node, at: 2s, for: 1s}\n":                            "fault.for: goes with a fault of the disk, and with partition",
		"cluster: {nodes: 3, size: 3}\n":                                                                        "size",
	} {
		s, err := Parse("c.yaml", []byte(file+text))
		if says != "" {
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%q: %v, want %q", text, err, says)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		settings := s.Cases[0].Settings
		if want := map[bool]string{true: "store", false: "replicated"}[strings.Contains(text, "store")]; settings.Cluster.Nodes < 3 || settings.Aggregator.Ack != want {
			t.Errorf("%q: %+v", text, settings)
		}
	}
}
