package scenario

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"sekali/loadgen/attack"
	"sekali/loadgen/stream"
)

const (
	// maxPhases, maxRate (requests a second), maxPhaseTime and maxRequests bound what one file can ask
	// for. vegeta ends near 12 000 requests a second on 2 cores; the soak runs for 30 minutes, the
	// growth scenario 20 M events.
	maxPhases    = 32
	maxRate      = 1e6
	maxPhaseTime = 24 * time.Hour
	maxRequests  = 1 << 32
	// maxBefore is what a cluster may have before the load.
	maxBefore = 1 << 30
	// maxEventsPerRequest is the largest batch the contract's tests send.
	maxEventsPerRequest = 1_000_000
	// maxClients is the generator's own bound.
	maxClients = attack.MaxClients
	// maxReadRate, maxPage and maxStreams bound readers; a page has defaultPage events.
	maxReadRate = 100_000
	maxPage     = 10_000
	maxStreams  = 10_000
	defaultPage = 100
	// maxDisk bounds what a disk can be held to: beyond it there is no disk to hold.
	maxDisk = 1_000_000
	// minRTT and maxRTT bound a delay: below, what the machine itself takes would be much of it.
	// maxMbit is more than two interfaces of one machine pass on.
	minRTT  = time.Millisecond
	maxRTT  = time.Second
	maxMbit = 100_000
)

// validName is what may become part of a folder's name: no dots alone, no slash, nothing hidden.
var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// problem is a refusal at a place of the document, such as "load.phases[0].rate".
type problem struct{ place, message string }

func check(s *Scenario, root ast.Node, named []caseText) error {
	if p := checkHead(s); p != nil {
		return place(s.Path, root, "", p)
	}
	if node := find(root, "search"); node != nil && node.Type() == ast.NullType {
		return at(s.Path, start(node), "search: an objective, a start, a number of repeats or a budget is needed")
	}
	if p := s.Search.check(); p != nil {
		return place(s.Path, root, "", p)
	}
	seen := map[string]bool{}
	for i, c := range named {
		if p := checkCaseName(c.Name, seen); p != nil {
			return place(s.Path, root, fmt.Sprintf("cases[%d].", i), p)
		}
	}
	for i := range s.Cases {
		c := &s.Cases[i]
		p := c.Settings.check()
		if c.Point.blames(p) {
			return place(s.Path, root, "", &problem{fmt.Sprintf("sweep.values[%d]", c.Point.index), p.message})
		}
		if p != nil {
			return place(s.Path, root, c.place, p)
		}
	}
	return nil
}

// place finds the nearest node of a problem that exists: in the case, else in the file's own
// settings, else its parent.
func place(path string, root ast.Node, prefix string, p *problem) error {
	message := p.place + ": " + p.message
	for target := p.place; target != ""; target = parent(target) {
		for _, full := range []string{prefix + target, target} {
			if node := find(root, full); node != nil {
				return at(path, start(node), message)
			}
		}
	}
	if node := find(root, strings.TrimSuffix(prefix, ".")); prefix != "" && node != nil {
		return at(path, start(node), message)
	}
	return at(path, start(root), message)
}

func parent(place string) string {
	return place[:max(strings.LastIndexAny(place, ".["), 0)]
}

func checkHead(s *Scenario) *problem {
	if s.Name == "" {
		return &problem{"name", "missing"}
	}
	if !validName.MatchString(s.Name) {
		return &problem{"name", fmt.Sprintf("%q may hold only a-z, 0-9, - and _, at most 63 of them", s.Name)}
	}
	if s.Question == "" {
		return &problem{"question", "missing"}
	}
	return nil
}

func checkCaseName(name string, seen map[string]bool) *problem {
	if !validName.MatchString(name) {
		return &problem{"name", fmt.Sprintf("%q may hold only a-z, 0-9, - and _, at most 63 of them", name)}
	}
	if seen[name] {
		return &problem{"name", fmt.Sprintf("two cases are named %q", name)}
	}
	seen[name] = true
	return nil
}

func (s *Settings) check() *problem {
	for _, step := range []func() *problem{s.checkAggregator, s.checkCluster, s.checkDisk, s.checkNetwork, s.checkStream, s.checkLoad, s.checkReaders, s.checkYardstick, s.checkFault, s.checkExpect} {
		if p := step(); p != nil {
			return p
		}
	}
	return nil
}

func oneOf(place, value string, allowed ...string) *problem {
	if slices.Contains(allowed, value) {
		return nil
	}
	return &problem{place, fmt.Sprintf("%q is not one of %s", value, strings.Join(allowed, ", "))}
}

func (s *Settings) checkAggregator() *problem {
	a := s.Aggregator
	levels := []string{"memory", "journal", "store"}
	if s.Cluster.Nodes > 0 {
		levels = append(levels, "replicated")
	}
	if p := oneOf("aggregator.ack", a.Ack, levels...); p != nil {
		return p
	}
	for _, flag := range []struct {
		name  string
		value int64
	}{{"batch_events", int64(a.BatchEvents)}, {"queue_events", int64(a.QueueEvents)}, {"queue_bytes", a.QueueBytes},
		{"backlog_bytes", a.BacklogBytes}, {"max_body_bytes", a.MaxBodyBytes}, {"max_streams", int64(a.MaxStreams)}} {
		if flag.value < 0 {
			return &problem{"aggregator." + flag.name, fmt.Sprintf("must not be negative: %d", flag.value)}
		}
	}
	return nil
}

func (s *Settings) checkCluster() *problem {
	c := s.Cluster
	switch {
	case c.Nodes != 0 && c.Nodes != 3 && c.Nodes != 5:
		return &problem{"cluster.nodes", fmt.Sprintf("must be 3 or 5, not %d", c.Nodes)}
	case c.Nodes == 0 && c.Replicas != 0:
		return &problem{"cluster.replicas", "goes with cluster.nodes"}
	case c.Nodes == 0 && c.Before != 0:
		return &problem{"cluster.before", "goes with cluster.nodes"}
	case c.Before > maxBefore:
		return &problem{"cluster.before", fmt.Sprintf("must be %d at most, not %d", uint64(maxBefore), c.Before)}
	case c.Nodes == 0 && c.Sync != "":
		return &problem{"cluster.sync", "goes with cluster.nodes"}
	case c.Replicas != 0 && c.Replicas != 1 && c.Replicas != 3:
		return &problem{"cluster.replicas", fmt.Sprintf("must be 1 or 3, not %d", c.Replicas)}
	case c.Lazy() && s.Aggregator.Ack != "journal" && s.Aggregator.Ack != "memory":
		return &problem{"cluster.sync", fmt.Sprintf("lazy goes with aggregator.ack journal or memory: nothing is acknowledged at %s", s.Aggregator.Ack)}
	case c.Sync != "":
		return oneOf("cluster.sync", c.Sync, SyncAlways, SyncLazy)
	}
	return nil
}

func (s *Settings) checkDisk() *problem {
	d := s.Disk
	switch {
	case d.MBPerS < 0 || d.MBPerS > maxDisk:
		return &problem{"disk.mb_per_s", fmt.Sprintf("must be 1 to %d, not %d", maxDisk, d.MBPerS)}
	case d.OperationsPerS < 0 || d.OperationsPerS > maxDisk:
		return &problem{"disk.operations_per_s", fmt.Sprintf("must be 1 to %d, not %d", maxDisk, d.OperationsPerS)}
	case d == Disk{}:
		return nil
	case s.Cluster.Nodes > 0:
		return &problem{"disk", "is of one aggregator alone"}
	case s.Fault.Kind == DiskFull:
		return &problem{"disk", "goes with no disk that is filled, which is one of its own"}
	}
	return nil
}

func (s *Settings) checkNetwork() *problem {
	n := s.Network
	switch rtt := time.Duration(n.RTT); {
	case rtt != 0 && (rtt < minRTT || rtt > maxRTT):
		return &problem{"network.rtt", fmt.Sprintf("must be %s to %s, not %s", minRTT, maxRTT, rtt)}
	case n.MbitPerS < 0 || n.MbitPerS > maxMbit:
		return &problem{"network.mbit_per_s", fmt.Sprintf("must be 1 to %d, not %d", maxMbit, n.MbitPerS)}
	case n == Network{}:
		return nil
	case s.Cluster.Nodes > 0:
		return &problem{"network", "is of one aggregator alone"}
	case s.Yardstick == Bare:
		return &problem{"network", "goes with no yardstick, which is on the loopback"}
	}
	return nil
}

func (s *Settings) checkStream() *problem {
	made, err := stream.New(s.Stream)
	if err != nil {
		return &problem{"stream", strings.TrimPrefix(err.Error(), "stream: ")}
	}
	s.Stream = made.Config()
	return nil
}

func (s *Settings) checkLoad() *problem {
	l := s.Load
	if l.EventsPerRequest < 1 || l.EventsPerRequest > maxEventsPerRequest {
		return &problem{"load.events_per_request", fmt.Sprintf("must be 1 to %d, not %d", maxEventsPerRequest, l.EventsPerRequest)}
	}
	if p := oneOf("load.encoding", l.Encoding, "json", "ndjson"); p != nil {
		return p
	}
	if p := oneOf("load.compression", l.Compression, "none", "gzip", "zstd"); p != nil {
		return p
	}
	if p := oneOf("load.client", l.Client, Vegeta, Light); p != nil {
		return p
	}
	if len(l.Phases) == 0 || len(l.Phases) > maxPhases {
		return &problem{"load.phases", fmt.Sprintf("1 to %d are needed, not %d", maxPhases, len(l.Phases))}
	}
	names, measured := map[string]bool{}, false
	for i, p := range l.Phases {
		at := fmt.Sprintf("load.phases[%d]", i)
		if !validName.MatchString(p.Name) {
			return &problem{at + ".name", fmt.Sprintf("%q may hold only a-z, 0-9, - and _, at most 63 of them", p.Name)}
		}
		if names[p.Name] {
			return &problem{at + ".name", fmt.Sprintf("two phases are named %q", p.Name)}
		}
		names[p.Name] = true
		measured = measured || p.Measured
		if refused := p.check(at); refused != nil {
			return refused
		}
		if l.Client == Light && p.Rate > 0 {
			return &problem{at + ".rate", "goes with vegeta: the light client has closed loops only"}
		}
	}
	if !measured {
		return &problem{"load.phases", "none has measured: true, so there would be nothing to report"}
	}
	return nil
}

func (p Phase) check(at string) *problem {
	if time.Duration(p.Duration) > maxPhaseTime {
		return &problem{at + ".duration", fmt.Sprintf("longer than %s", maxPhaseTime)}
	}
	if p.Rate > maxRate {
		return &problem{at + ".rate", fmt.Sprintf("above %g/s", float64(maxRate))}
	}
	if p.Clients < 0 || p.Clients > maxClients {
		return &problem{at + ".clients", fmt.Sprintf("must be 1 to %d, not %d", maxClients, p.Clients)}
	}
	if p.Arrivals != "" {
		if problem := oneOf(at+".arrivals", p.Arrivals, "even", attack.Poisson); problem != nil {
			return problem
		}
	}
	switch {
	case p.Arrivals != "" && p.Rate == 0:
		return &problem{at + ".arrivals", "goes with rate: a client sends when its last request is answered"}
	case p.Arrivals == attack.Poisson && float64(p.Rate)*time.Duration(p.Duration).Seconds() > attack.MaxPoisson:
		return &problem{at, fmt.Sprintf("arrivals: poisson has %d requests at most", attack.MaxPoisson)}
	case p.Rate > 0 && (p.Clients > 0 || p.Requests > 0):
		return &problem{at, "rate goes with duration; clients and requests make a phase of their own kind"}
	case p.Rate > 0 && p.Duration == 0:
		return &problem{at, "a rate needs a duration"}
	case p.Rate == 0 && p.Clients == 0:
		return &problem{at, "needs a rate and a duration, or clients and requests"}
	case p.Rate == 0 && (p.Duration == 0) == (p.Requests == 0):
		return &problem{at, "clients need either requests or a duration"}
	case float64(p.Rate)*time.Duration(p.Duration).Seconds() > maxRequests, p.Requests > maxRequests:
		return &problem{at, fmt.Sprintf("asks for more than %d requests", uint64(maxRequests))}
	}
	return nil
}

func (s *Settings) checkReaders() *problem {
	kinds := map[string]bool{}
	for i, r := range s.Readers {
		at := fmt.Sprintf("readers[%d]", i)
		if p := oneOf(at+".kind", r.Kind, ReadTopic, ReadSeq, ReadTime, ReadStream); p != nil {
			return p
		}
		switch stream := r.Kind == ReadStream; {
		case kinds[r.Kind]:
			return &problem{at + ".kind", fmt.Sprintf("%s is there twice", r.Kind)}
		case s.Cluster.Nodes > 0 || s.Fault.Kind != NoFault:
			return &problem{at, "read of one aggregator alone, to which nothing is done"}
		case stream && (r.Clients < 1 || r.Clients > maxStreams):
			return &problem{at + ".clients", fmt.Sprintf("must be 1 to %d, not %d", maxStreams, r.Clients)}
		case stream && (r.Rate > 0 || r.Limit != 0):
			return &problem{at, "rate and limit go with pages"}
		case !stream && (r.Rate == 0 || r.Rate > maxReadRate):
			return &problem{at + ".rate", fmt.Sprintf("up to %d pages a second are needed", maxReadRate)}
		case !stream && (r.Limit < 1 || r.Limit > maxPage):
			return &problem{at + ".limit", fmt.Sprintf("must be 1 to %d, not %d", maxPage, r.Limit)}
		case !stream && r.Clients != 0:
			return &problem{at + ".clients", "goes with streams"}
		}
		kinds[r.Kind] = true
	}
	return nil
}

func (s *Settings) checkYardstick() *problem {
	if p := oneOf("yardstick", s.Yardstick, NoYardstick, Bare); p != nil {
		return p
	}
	if s.Yardstick == NoYardstick {
		return nil
	}
	for i, p := range s.Load.Phases {
		if p.Rate > 0 {
			return &problem{fmt.Sprintf("load.phases[%d].rate", i), "goes with no yardstick, whose clients send as fast as they are answered"}
		}
	}
	return nil
}

func (s *Settings) checkFault() *problem {
	f := s.Fault
	if p := oneOf("fault.kind", f.Kind, NoFault, Sigterm, Sigkill, DiskFull, DiskError, SlowDisk, Join, Partition); p != nil {
		return p
	}
	if p := s.checkRole(); p != nil {
		return p
	}
	if f.Kind == NoFault {
		if f.At != 0 || f.RestartAfter != 0 || f.For != 0 {
			return &problem{"fault", "at, restart_after and for need a kind"}
		}
		return nil
	}
	if f.At == 0 {
		return &problem{"fault", "at is missing: the moment since the attack's start"}
	}
	switch {
	case f.Lasts() && f.For == 0:
		return &problem{"fault", "for is missing: how long it lasts"}
	case f.Lasts() && f.RestartAfter != 0:
		return &problem{"fault.restart_after", fmt.Sprintf("goes with sigterm and sigkill: %s ends no process", f.Kind)}
	case !f.Lasts() && f.For != 0:
		return &problem{"fault.for", "goes with a fault of the disk, and with partition"}
	}
	if end, planned := time.Duration(f.At+f.For), s.Load.Duration(); planned > 0 && end >= planned {
		return &problem{"fault.at", fmt.Sprintf("%s is not within the load, which ends at %s", end, planned)}
	}
	if time.Duration(f.RestartAfter) > maxPhaseTime {
		return &problem{"fault.restart_after", fmt.Sprintf("longer than %s", maxPhaseTime)}
	}
	return nil
}

// checkRole: a fault of a cluster says whom it befalls; where there is one aggregator, there is no
// choice.
func (s *Settings) checkRole() *problem {
	f := s.Fault
	switch {
	case s.Cluster.Nodes == 0 && f.Role != "", f.Kind == NoFault && f.Role != "":
		return &problem{"fault.role", "goes with a kind, and with cluster.nodes"}
	case s.Cluster.Nodes == 0 && (f.Kind == Join || f.Kind == Partition):
		return &problem{"fault.kind", f.Kind + " goes with cluster.nodes"}
	case f.Kind == Join && f.Role != "":
		return &problem{"fault.role", "goes with sigterm, sigkill and partition: it is the last node that joins"}
	case s.Cluster.Nodes == 0 || f.Kind == NoFault || f.Kind == Join:
		return nil
	case f.OfDisk():
		return &problem{"fault.kind", fmt.Sprintf("%s is of one aggregator alone", f.Kind)}
	}
	return oneOf("fault.role", f.Role, RoleNode, LogLeader, LogFollower, LeaderMachine)
}

func (s *Settings) checkExpect() *problem {
	return oneOf("expect.deduplication_rate", s.Expect.DeduplicationRate, "exact", "any")
}
