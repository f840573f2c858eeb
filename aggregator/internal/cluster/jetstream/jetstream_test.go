package jetstream

import (
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"sekali/aggregator/internal/cluster"
)

// goodStream is a stream as init makes it.
func goodStream() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: "SEKALI_1", Subjects: []string{"sekali.1.log.0"}, Storage: jetstream.FileStorage, Replicas: 3, Retention: jetstream.LimitsPolicy,
		Discard: jetstream.DiscardNew, MaxMsgs: -1, MaxMsgsPerSubject: -1, MaxBytes: 1 << 30, MaxMsgSize: -1, DenyDelete: true, Metadata: map[string]string{metaReplicas: "3"},
	}
}

// TestEachFaultIsNamed: each setting by which a stream would lose, change or hold back a message is
// one fault, and the stream that init makes has none.
func TestEachFaultIsNamed(t *testing.T) {
	const subject = "sekali.1.log.0"
	good := goodStream()
	if f := faults(&good, subject); len(f) > 0 {
		t.Fatalf("a good stream has %v", f)
	}
	for name, change := range map[string]func(*jetstream.StreamConfig){
		"memory":                func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"copies":                func(c *jetstream.StreamConfig) { c.Replicas = 1 },
		"retention":             func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy },
		"discards old":          func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld },
		"by age":                func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
		"limit of messages":     func(c *jetstream.StreamConfig) { c.MaxMsgs = 10 },
		"of a subject":          func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 },
		"messages of more than": func(c *jetstream.StreamConfig) { c.MaxMsgSize = 2<<20 - 1 },
		"no limit of bytes":     func(c *jetstream.StreamConfig) { c.MaxBytes = -1 },
		"deleted":               func(c *jetstream.StreamConfig) { c.DenyDelete = false },
		"remove others":         func(c *jetstream.StreamConfig) { c.AllowRollup = true },
		"time to live":          func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true },
		"changed on their way":  func(c *jetstream.StreamConfig) { c.AllowMsgCounter = true },
		"another stream":        func(c *jetstream.StreamConfig) { c.Mirror = &jetstream.StreamSource{Name: "x"} },
		"changes subjects":      func(c *jetstream.StreamConfig) { c.SubjectTransform = &jetstream.SubjectTransformConfig{} },
		"does not answer":       func(c *jetstream.StreamConfig) { c.NoAck = true },
		"takes nothing":         func(c *jetstream.StreamConfig) { c.Sealed = true },
		"before it has stored":  func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.AsyncPersistMode },
		"it has the subjects [": func(c *jetstream.StreamConfig) { c.Subjects = []string{"sekali.1.>"} },
	} {
		bad := goodStream()
		change(&bad)
		if f := faults(&bad, subject); len(f) != 1 || !strings.Contains(f[0], name) {
			t.Errorf("%s: %v", name, f)
		}
	}
	for _, most := range []int32{-1, 0, 2 << 20} {
		good.MaxMsgSize = most
		if f := faults(&good, subject); len(f) > 0 {
			t.Errorf("at most %d bytes: %v", most, f)
		}
	}
}

// TestHeadSaysItsVersion: replicas begin with the apply version that the log was made with, and
// with the first in one that was made before it said so.
func TestHeadSaysItsVersion(t *testing.T) {
	for text, want := range map[string]uint16{"": 0, "2": 2, "70000": 0, "x": 0} {
		config := goodStream()
		config.Metadata[metaApply] = text
		if h := headOf(&jetstream.StreamInfo{Config: config}, "sekali.1.log.0"); h.Apply != want || len(h.Faults) > 0 {
			t.Errorf("%q is version %d, want %d; %v", text, h.Apply, want, h.Faults)
		}
	}
}

// TestLazyServerIsRefused: every server that takes part has to have shown that it syncs. One that
// is away need not, and one that was proven stays so until it says something else.
func TestLazyServerIsRefused(t *testing.T) {
	const always, lazy = `{"server":{"name":"%"},"data":{"jetstream":{"config":{"sync_always":true}}}}`, `{"server":{"name":"%"},"data":{"jetstream":{"config":{"sync_interval":120}}}}`
	l := &Log{proofs: map[string]proof{}}
	if l.proven() == nil {
		t.Error("nobody is known, and all is proven")
	}
	l.peers = []cluster.Peer{{Name: "1"}, {Name: "2"}, {Name: "3"}}
	say := func(server, answer string) { l.note([]byte(strings.ReplaceAll(answer, "%", server)), time.Now()) }
	say("1", always)
	say("2", always)
	if err := l.proven(); err == nil || !strings.Contains(err.Error(), "3 has not said") {
		t.Errorf("of a server that has not answered: %v", err)
	}
	l.peers[2].Offline = true
	if err := l.proven(); err != nil {
		t.Errorf("of a server that is away: %v", err)
	}
	l.peers[2].Offline = false
	say("3", lazy)
	if err := l.proven(); err == nil || !strings.Contains(err.Error(), "3 answers before it has synced") {
		t.Errorf("of a lazy server: %v", err)
	}
	say("3", always)
	say("2", `{"server":{"name":"2"},"error":{"description":"busy"}}`)
	if err := l.proven(); err != nil {
		t.Errorf("all are proven, and one is busy: %v", err)
	}
	say("2", `{"server":{"name":"2"},"data":{}}`)
	if err := l.proven(); err != nil {
		t.Errorf("one has turned its log off, as with a full disk, and stores nothing: %v", err)
	}
	l.peers = append(l.peers, cluster.Peer{Name: "4"})
	say("4", `{"server":{"name":"4"},"data":{}}`)
	if l.proven() == nil {
		t.Error("a server that has never had a log is proven")
	}
}

// TestServersOfALogWithoutLeader: what one of three servers says that is left names nobody as the
// leader, and itself as away. Who answers is there; who does not is no lazy server.
func TestServersOfALogWithoutLeader(t *testing.T) {
	config := goodStream()
	info := &jetstream.StreamInfo{Config: config, Cluster: &jetstream.ClusterInfo{Replicas: []*jetstream.PeerInfo{
		{Name: "1", Offline: true}, {Name: "2", Offline: true}, {Name: "3", Offline: true}}}}
	if !leaderless(info) {
		t.Error("it has a leader")
	}
	l := &Log{proofs: map[string]proof{}}
	if err := l.provenWithout(cluster.ErrUnreachable); !errors.Is(err, cluster.ErrUnreachable) {
		t.Errorf("nobody is known: %v", err)
	}
	l.peers = headOf(info, "sekali.1.log.0").Peers
	if len(l.peers) != 3 {
		t.Errorf("the servers are %+v", l.peers)
	}
	l.asked = time.Now()
	l.note([]byte(`{"server":{"name":"2"},"data":{"jetstream":{"config":{"sync_always":true}}}}`), time.Now())
	head, err := l.answering(errLeaderless)
	if !errors.Is(err, cluster.ErrUnreachable) || !strings.Contains(err.Error(), "no leader") || !strings.Contains(err.Error(), "not answer: 1, 3") {
		t.Errorf("it says %v", err)
	}
	for i, away := range []bool{true, false, true} {
		if p := head.Peers[i]; p.Offline != away || p.Name == "" {
			t.Errorf("server %d: %+v, want away %v", i+1, p, away)
		}
	}
	if l.allAnswered(l.asked, true) {
		t.Error("two that are away have answered")
	}
	if err := l.proven(); err != nil {
		t.Errorf("who answers syncs: %v", err)
	}
}

// TestCopyWithoutServer: a server was taken out and the log lists two of three for a while, both of
// them well. The loss of one more would be that of the quorum, so that somebody has to be told.
func TestCopyWithoutServer(t *testing.T) {
	others := []*jetstream.PeerInfo{{Name: "2", Current: true, Active: time.Millisecond}, {Name: "3"}}
	for name, c := range map[string]struct {
		others []*jetstream.PeerInfo
		lacks  string
		away   int
	}{
		"nobody has its place":     {others[:1], "the log has 2 of its 3 copies", 0},
		"another has not begun it": {others, "", 1},
	} {
		head := headOf(&jetstream.StreamInfo{Config: goodStream(), Cluster: &jetstream.ClusterInfo{Leader: "1", Replicas: c.others}}, "sekali.1.log.0")
		away := 0
		for _, p := range head.Peers {
			if p.Offline {
				away++
			}
		}
		if said := head.Lacking(); !strings.HasPrefix(said, c.lacks) || c.lacks == "" && said != "" || away != c.away {
			t.Errorf("%s: lacking %q, %d away", name, said, away)
		}
	}
	one := goodStream()
	one.Replicas = 1
	unknown, alone := cluster.Head{}, headOf(&jetstream.StreamInfo{Config: one, Cluster: &jetstream.ClusterInfo{Leader: "1"}}, "sekali.1.log.0")
	if said := unknown.Lacking() + alone.Lacking(); said != "" {
		t.Errorf("a log that is not known, and one of one copy: %q", said)
	}
}

// TestWhoDoesNotLeadIsNotAsked: a server that was started a moment ago, or takes the log for one
// without a leader, answers for it although another leads: it may be behind. Only a leader says
// since when it is one.
func TestWhoDoesNotLeadIsNotAsked(t *testing.T) {
	three, one := goodStream(), goodStream()
	one.Replicas = 1
	since := time.Now()
	for name, c := range map[string]struct {
		info jetstream.StreamInfo
		want bool
	}{
		"the leader": {jetstream.StreamInfo{Config: three, Cluster: &jetstream.ClusterInfo{Leader: "1", LeaderSince: &since}}, false},
		"another":    {jetstream.StreamInfo{Config: three, Cluster: &jetstream.ClusterInfo{Leader: "1"}}, true},
		"one copy":   {jetstream.StreamInfo{Config: one, Cluster: &jetstream.ClusterInfo{Leader: "1"}}, false},
		"one server": {jetstream.StreamInfo{Config: one}, false},
	} {
		if leaderless(&c.info) != c.want {
			t.Errorf("%s: not the leader's answer %v, want %v", name, !c.want, c.want)
		}
	}
}

// TestAway: a server is away that the leader calls so, or has not heard for long, or never.
func TestAway(t *testing.T) {
	for _, c := range []struct {
		peer jetstream.PeerInfo
		away bool
	}{
		{jetstream.PeerInfo{Current: true, Active: time.Second}, false},
		{jetstream.PeerInfo{Current: true}, false},
		{jetstream.PeerInfo{Active: time.Second, Lag: 100}, false}, // it catches up, and its vote counts
		{jetstream.PeerInfo{Active: 5 * time.Second, Current: true}, true},
		{jetstream.PeerInfo{}, true},
		{jetstream.PeerInfo{Offline: true, Current: true, Active: time.Second}, true},
	} {
		if got := away(&c.peer); got != c.away {
			t.Errorf("%+v: away %v", c.peer, got)
		}
	}
}

// TestAnswers: only an answer that names a place in this stream is one.
func TestAnswers(t *testing.T) {
	l := &Log{epoch: 1}
	for text, want := range map[string]error{
		``:                              cluster.ErrUnreachable,
		`{"stream":"SEKALI_1","seq":0}`: errAny,
		`{"stream":"SEKALI_2","seq":5}`: errAny,
		`nonsense`:                      errAny,
		`{"error":{"code":503,"err_code":10077}}`: cluster.ErrFull,
		`{"error":{"code":503,"err_code":10008}}`: errAny,
		`{"stream":"SEKALI_1","seq":5}`:           nil,
	} {
		at, err := l.placeOf(&nats.Msg{Data: []byte(text)})
		switch {
		case want == nil && (err != nil || at != 5), want != nil && err == nil, want != nil && want != errAny && !errors.Is(err, want):
			t.Errorf("%s: %d, %v; want %v", text, at, err, want)
		}
	}
}

var errAny = errors.New("any")

// TestNothingIsKeptForLater: what cannot be sent now is refused. A client that kept it would send
// it behind what is sent again meanwhile.
func TestNothingIsKeptForLater(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	if err := ln.Close(); err != nil { // nobody listens there
		t.Fatal(err)
	}
	l, err := Dial(Config{URLs: "nats://" + address, Name: "test", Logger: slog.New(slog.DiscardHandler)}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Append([]byte("x"), func(uint64, error) { t.Error("answered") }); !errors.Is(err, cluster.ErrUnreachable) {
		t.Errorf("appended while there is no server: %v", err)
	}
	if n := len(l.pending); n != 0 {
		t.Errorf("%d messages wait for an answer", n)
	}
	if buffered, err := l.conn.Buffered(); err == nil && buffered > 0 {
		t.Errorf("%d bytes are kept to be sent", buffered)
	}
}
