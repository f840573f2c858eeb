package jetstream

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sekali/aggregator/internal/cluster"
)

// wire is a server of the log that says what a test has it say.
type wire struct {
	t *testing.T
	// says is asked for each message that a client sends. say answers it, from a subject for what the
	// client may answer in its turn.
	says func(subject, body string, say func(from, text string))
	most int // bytes that it takes; 0: as sekali-log has it

	mu     sync.Mutex // guards all below
	tells  func(subject string)
	asked  []string // the subjects
	bodies []string
}

// serve returns a client of the server.
func (w *wire) serve() *Log {
	w.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go w.talk(conn)
		}
	}()
	l, err := Dial(Config{URLs: "nats://" + ln.Addr().String(), Name: "test", Logger: slog.New(slog.DiscardHandler)}, 1)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = l.Close() })
	return l
}

// wasAsked reports that a client has sent something to a subject.
func (w *wire) wasAsked(subject string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Contains(w.asked, subject)
}

// tell sends what nobody has asked for, to who has subscribed to it.
func (w *wire) tell(subject string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tells(subject)
}

// talk is the server's end of a connection.
func (w *wire) talk(conn net.Conn) {
	defer conn.Close()
	_, _ = fmt.Fprintf(conn, `INFO {"server_id":"x","version":"2.12.0","proto":1,"headers":true,"max_payload":%d}`+"\r\n", cmp.Or(w.most, 2<<20))
	in, subscribed := bufio.NewReader(conn), map[string]string{}
	w.mu.Lock()
	w.tells = func(subject string) {
		if id := subscribed[subject]; id != "" {
			_, _ = fmt.Fprintf(conn, "MSG %s %s 0\r\n\r\n", subject, id)
		}
	}
	w.mu.Unlock()
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		fields := strings.Fields(line)
		switch fields[0] {
		case "PING":
			_, _ = conn.Write([]byte("PONG\r\n"))
		case "SUB":
			w.mu.Lock()
			subscribed[strings.TrimSuffix(fields[1], "*")] = fields[len(fields)-1]
			w.mu.Unlock()
		case "PUB", "HPUB":
			size := 0
			_, _ = fmt.Sscan(fields[len(fields)-1], &size)
			body := make([]byte, size+2)
			if _, err := io.ReadFull(in, body); err != nil {
				return
			}
			w.note(fields[1], string(body[:size]))
			reply := fields[2]
			w.says(fields[1], string(body[:size]), func(from, text string) {
				for subject, id := range subscribed {
					if strings.HasPrefix(reply, subject) {
						_, _ = fmt.Fprintf(conn, "MSG %s %s %s %d\r\n%s\r\n", reply, id, from, len(text), text)
					}
				}
			})
		}
	}
}

func (w *wire) note(subject, body string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked, w.bodies = append(w.asked, subject), append(w.bodies, body)
}

// TestRegistryIsReadFromItsLeader: what a node has told is asked for with one request, of the
// leader: a replica, which a direct get may come to, may be behind.
func TestRegistryIsReadFromItsLeader(t *testing.T) {
	answers := map[string]string{
		"a": `{"message":{"subject":"$KV.SEKALI_NODES.a","seq":7,"data":"aGVsbG8=","time":"2026-11-23T06:41:10Z"}}`,
		"b": `{"error":{"code":404,"err_code":10037,"description":"no message found"}}`,
		"c": `{"error":{"code":404,"err_code":10059,"description":"stream not found"}}`,
		"d": `nonsense`,
		"e": `{}`,
	}
	w := &wire{t: t}
	w.says = func(subject, body string, say func(from, text string)) {
		for node, answer := range answers {
			if subject == "$JS.API.STREAM.MSG.GET.KV_SEKALI_NODES" && body == `{"last_by_subj":"$KV.SEKALI_NODES.`+node+`"}` {
				say("", answer)
			}
		}
	}
	l := w.serve()
	for _, c := range []struct {
		node, value string
		revision    uint64
		fails       bool
	}{{"a", "hello", 7, false}, {"b", "", 0, false}, {"c", "", 0, true}, {"d", "", 0, true}, {"e", "", 0, true}} {
		value, revision, err := l.Registry().Get(t.Context(), c.node)
		if string(value) != c.value || revision != c.revision || errors.Is(err, cluster.ErrUnreachable) != c.fails || (err != nil) != c.fails {
			t.Errorf("%s: %q at %d, %v", c.node, value, revision, err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.asked) != 5 {
		t.Errorf("5 questions were asked with %d requests: %q, %q", len(w.asked), w.asked, w.bodies)
	}
}

// TestServerTakesFrames: a server that takes no message of a frame's size would have the outbox
// wait for ever.
func TestServerTakesFrames(t *testing.T) {
	config, err := json.Marshal(goodStream())
	if err != nil {
		t.Fatal(err)
	}
	for most, good := range map[int]bool{1 << 20: false, 2 << 20: true, 8 << 20: true} {
		w := &wire{t: t, most: most}
		w.says = func(_, _ string, say func(from, text string)) {
			say("", `{"config":`+string(config)+`,"created":"2026-11-23T06:41:10Z"}`)
		}
		head, err := w.serve().Head(t.Context())
		if err != nil || (len(head.Faults) == 0) != good || !good && !strings.Contains(head.Faults[0], "max_payload") {
			t.Errorf("max_payload %d: %v, %v", most, head.Faults, err)
		}
	}
}

// TestMissingLog: who asks a log that is not there hears which command makes it, or that the
// cluster has gone on with a later one.
func TestMissingLog(t *testing.T) {
	for _, c := range []struct {
		epoch         uint64
		streams, says string
	}{
		{1, `[]`, "made by `aggregator cluster init`"},
		{2, `["KV_SEKALI_NODES","SEKALI_1"]`, "made by `aggregator cluster new-epoch -begin`"},
		{1, `["SEKALI_3","KV_SEKALI_NODES","SEKALI_2"]`, "one of epoch 3: `aggregator cluster new-epoch` takes this replica there"},
	} {
		w := &wire{t: t}
		w.says = func(subject, _ string, say func(from, text string)) {
			text := `{"error":{"code":404,"err_code":10059,"description":"stream not found"}}`
			if subject == "$JS.API.STREAM.NAMES" {
				text = `{"total":3,"offset":0,"limit":1024,"streams":` + c.streams + `}`
			}
			say("", text)
		}
		l := w.serve()
		l.epoch = c.epoch
		if _, err := l.Head(t.Context()); !errors.Is(err, cluster.ErrUnreachable) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("epoch %d beside %s: %v, want %q", c.epoch, c.streams, err, c.says)
		}
	}
}

// TestNoRoomForALog: who makes a log that the servers have no room for hears which others are
// there.
func TestNoRoomForALog(t *testing.T) {
	w := &wire{t: t}
	w.says = func(subject, _ string, say func(from, text string)) {
		switch subject {
		case "$JS.API.INFO":
			say("", `{}`)
		case "$JS.API.STREAM.CREATE.KV_SEKALI_NODES":
			say("", `{"config":{"name":"KV_SEKALI_NODES"},"created":"2026-11-23T06:41:10Z"}`)
		case "$JS.API.STREAM.CREATE.SEKALI_4":
			say("", `{"error":{"code":400,"err_code":10005,"description":"no suitable peers for placement, insufficient storage"}}`)
		case "$JS.API.STREAM.NAMES":
			say("", `{"total":4,"offset":0,"limit":1024,"streams":["SEKALI_3","KV_SEKALI_NODES","SEKALI_1","SEKALI_2"]}`)
		default:
			say("", `{"error":{"code":404,"err_code":10059,"description":"stream not found"}}`)
		}
	}
	l := w.serve()
	l.epoch = 4
	_, err := l.Init(t.Context(), Wanted{Nodes: []string{"a", "b"}, Replicas: 3, Bytes: 1 << 30})
	if err == nil || !strings.Contains(err.Error(), "insufficient storage") || !strings.Contains(err.Error(), "-store-bytes has no room for 1073741824 bytes beside the logs of the epochs [1 2 3]") {
		t.Errorf("it says %v", err)
	}
}

// TestNoLogIsMade: no log is made that another has followed, nor one of which it is said that it
// must not be: nobody would remove it again.
func TestNoLogIsMade(t *testing.T) {
	further := errors.New("another replica is further")
	for name, c := range map[string]struct {
		streams   string
		may, want error
	}{
		"a later one is there": {`["KV_SEKALI_NODES","SEKALI_3"]`, nil, ErrLater},
		"it must not be":       {`["KV_SEKALI_NODES","SEKALI_1"]`, further, further},
	} {
		w := &wire{t: t}
		w.says = func(subject, _ string, say func(from, text string)) {
			switch subject {
			case "$JS.API.INFO":
				say("", `{}`)
			case "$JS.API.STREAM.CREATE.KV_SEKALI_NODES":
				say("", `{"config":{"name":"KV_SEKALI_NODES"},"created":"2026-11-23T06:41:10Z"}`)
			case "$JS.API.STREAM.NAMES":
				say("", `{"total":2,"offset":0,"limit":1024,"streams":`+c.streams+`}`)
			default:
				say("", `{"error":{"code":404,"err_code":10059,"description":"stream not found"}}`)
			}
		}
		l := w.serve()
		l.epoch = 2
		_, err := l.Init(t.Context(), Wanted{Nodes: []string{"a", "b"}, Replicas: 3, Bytes: 1 << 30, May: func(context.Context) error { return c.may }})
		if !errors.Is(err, c.want) || w.wasAsked("$JS.API.STREAM.CREATE.SEKALI_2") {
			t.Errorf("%s: %v, and a log was asked for: %v", name, err, w.wasAsked("$JS.API.STREAM.CREATE.SEKALI_2"))
		}
	}
}

// TestGapIsSeenTwice: that a reading begins with a later message than it asked for may be a loss on
// the way. It is believed once the next reading begins so, too.
func TestGapIsSeenTwice(t *testing.T) {
	w := &wire{t: t}
	w.says = func(subject, _ string, say func(from, text string)) {
		switch {
		case strings.HasPrefix(subject, "$JS.API.CONSUMER.CREATE."):
			say("", `{"stream_name":"SEKALI_1","name":"x","config":{"ack_policy":"none"},"created":"2026-11-23T06:41:10Z"}`)
		case strings.HasPrefix(subject, "$JS.API.CONSUMER.MSG.NEXT."):
			for at := 5; at <= 6; at++ {
				say(fmt.Sprintf("$JS.ACK.SEKALI_1.x.1.%d.%d.1700000000000000000.0", at, at), "m")
			}
		default:
			say("", `{"success":true}`)
		}
	}
	l := w.serve()
	enough := errors.New("enough")
	for i, c := range []struct {
		after, gets uint64
	}{{4, 5}, {2, 0}, {3, 0}, {3, 5}, {4, 5}, {2, 0}, {2, 5}} {
		got := uint64(0)
		err := l.Read(context.Background(), c.after, func(at uint64, _ []byte) error {
			got = at
			return enough
		})
		if got != c.gets || errors.Is(err, errGap) != (c.gets == 0) || errors.Is(err, enough) != (c.gets > 0) {
			t.Errorf("reading %d behind %d got %d, want %d: %v", i, c.after, got, c.gets, err)
		}
	}
}

// TestLostReaderIsNotWaitedFor: the server that had the reader's place may be gone, and answers
// nobody who wants it removed. The next reading begins meanwhile.
func TestLostReaderIsNotWaitedFor(t *testing.T) {
	w := &wire{t: t}
	w.says = func(subject, _ string, say func(from, text string)) {
		switch {
		case strings.HasPrefix(subject, "$JS.API.CONSUMER.CREATE."):
			say("", `{"stream_name":"SEKALI_1","name":"x","config":{"ack_policy":"none"},"created":"2026-11-23T06:41:10Z"}`)
		case strings.HasPrefix(subject, "$JS.API.CONSUMER.MSG.NEXT."):
			say("$JS.ACK.SEKALI_1.x.1.5.5.1700000000000000000.0", "m")
		}
	}
	l, enough, began := w.serve(), errors.New("enough"), time.Now()
	if err := l.Read(t.Context(), 4, func(uint64, []byte) error { return enough }); !errors.Is(err, enough) {
		t.Fatal(err)
	}
	if took := time.Since(began); took > askTimeout/2 {
		t.Errorf("the reading has ended after %v", took)
	}
	for end := time.Now().Add(askTimeout); !w.wasAsked("$JS.API.CONSUMER.DELETE.SEKALI_1.x"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody was told to remove it")
		}
	}
}

// TestNewLeaderIsSentAgain: what the leader before has not answered it may never answer. Who has
// sent it hears so at once, and not after a time without an answer.
func TestNewLeaderIsSentAgain(t *testing.T) {
	w := &wire{t: t}
	w.says = func(subject, _ string, _ func(from, text string)) {}
	l := w.serve()
	failed := make(chan error, 2)
	for range 2 {
		if err := l.Append([]byte("m"), func(_ uint64, err error) { failed <- err }); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	w.tell(leaderElected + "SEKALI_2")
	w.tell(leaderElected + "SEKALI_1")
	for range 2 {
		select {
		case err := <-failed:
			if !errors.Is(err, errNewLeader) {
				t.Errorf("it says %v", err)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("nobody was told")
		}
	}
	if len(l.pending) > 0 {
		t.Errorf("%d are waited for", len(l.pending))
	}
}

// TestWithoutLeaderSaysWhoIsThere: who asks a log for the first time, and gets no answer or is told
// to come again, hears that it has no leader and which servers are left. So does who would make it.
func TestWithoutLeaderSaysWhoIsThere(t *testing.T) {
	for name, answer := range map[string]string{"silent": "", "refuses": `{"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"}}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &wire{t: t}
			w.says = func(subject, _ string, say func(from, text string)) {
				switch {
				case subject == pingServers:
					say("", `{"server":{"name":"log-3-f30f"},"data":{"jetstream":{"config":{"sync_always":true}}}}`)
				case answer != "":
					say("", answer)
				}
			}
			l := w.serve()
			if _, err := l.Head(t.Context()); !errors.Is(err, cluster.ErrUnreachable) || !strings.Contains(err.Error(), "no leader; these servers answer: log-3-f30f") {
				t.Errorf("asked what it is, it says %v", err)
			}
			if answer == "" {
				return
			}
			if _, err := l.Init(t.Context(), Wanted{Nodes: []string{"a", "b"}, Replicas: 3, Bytes: 1 << 30}); !errors.Is(err, cluster.ErrUnreachable) || !strings.Contains(err.Error(), "have no leader") ||
				!strings.Contains(err.Error(), "log-3-f30f") {
				t.Errorf("made anew, it says %v", err)
			}
		})
	}
}

// TestCopies: each server says itself how far its copy of the log goes, also one that has none yet.
func TestCopies(t *testing.T) {
	w := &wire{t: t}
	w.says = func(subject, body string, say func(from, text string)) {
		if subject != pingStreams || !strings.Contains(body, `"streams":true`) {
			return
		}
		say("", `{"server":{"name":"log-1"},"data":{"account_details":[{"stream_detail":[{"name":"KV_SEKALI_NODES","state":{"last_seq":9}},{"name":"SEKALI_1","state":{"last_seq":5064}}]}]}}`)
		say("", `nonsense`)
		say("", `{"server":{"name":"log-4"},"error":{"description":"off"}}`)
		say("", `{"server":{"name":"log-2"},"data":{"account_details":[{"stream_detail":[{"name":"SEKALI_1","state":{"last_seq":45}}]}]}}`)
		say("", `{"server":{"name":"log-3"},"data":{}}`)
	}
	l := w.serve()
	l.mu.Lock()
	l.peers = []cluster.Peer{{Name: "log-1"}, {Name: "log-2"}, {Name: "log-3"}, {Name: "log-5", Offline: true}}
	l.mu.Unlock()
	ends, err := l.Copies(t.Context())
	if want := map[string]uint64{"log-1": 5064, "log-2": 45, "log-3": 0}; err != nil || !maps.Equal(ends, want) {
		t.Errorf("%v, %v; want %v", ends, err, want)
	}
}
