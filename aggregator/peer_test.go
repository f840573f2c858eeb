package aggregator

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// givesCopy answers as a peer that gives a copy, spoilt as a case says.
func givesCopy(body, digest string, length int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if digest != "" {
			w.Header().Set("Content-Digest", digest)
		}
		if length > 0 {
			w.Header().Set("Content-Length", strconv.Itoa(length))
		}
		_, _ = io.WriteString(w, body)
		if flusher, ok := w.(http.Flusher); ok && length > len(body) {
			flusher.Flush()
			panic(http.ErrAbortHandler)
		}
	}
}

// TestCopyHasToBeWhole: a copy that breaks off, that is not what its checksum says, or that has
// none, is an error. One that a busy peer gives a moment later is taken.
func TestCopyHasToBeWhole(t *testing.T) {
	const body = "all of the events"
	sum := sha256.Sum256([]byte(body))
	digest := "sha256-" // not the name of RFC 9530
	good := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		whole   bool
		says    string
	}{
		"whole":        {givesCopy(body, good, len(body)), true, ""},
		"breaks off":   {givesCopy(body[:5], good, len(body)), false, "5 of 17 bytes"},
		"another":      {givesCopy("all of these event", good, 0), false, "its checksum"},
		"no checksum":  {givesCopy(body, "", len(body)), false, "no checksum"},
		"another kind": {givesCopy(body, digest, len(body)), false, "no checksum"},
		"a refusal":    {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }, false, "403"},
		"one that halts": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"code":"halted"}`, http.StatusServiceUnavailable)
		}, false, "halted"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(c.handler)
			defer server.Close()
			p, err := (&ClusterConfig{}).newPeer(server.URL+"/", peerStalls)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "copy")
			n, err := p.copyTo(t.Context(), file)
			if (err == nil) != c.whole || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%d, %v; want whole %v, %q", n, err, c.whole, c.says)
			}
			if text, err := os.ReadFile(file); c.whole && (err != nil || string(text) != body) {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
}

// TestBusyPeerIsAskedAgain: a peer that gives a copy to somebody else is asked again.
func TestBusyPeerIsAskedAgain(t *testing.T) {
	const body = "x"
	sum := sha256.Sum256([]byte(body))
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			http.Error(w, `{"code":"busy"}`, http.StatusServiceUnavailable)
			return
		}
		if got := r.Header.Get("Authorization"); got != "Bearer s3cret" {
			t.Errorf("the token is %q", got)
		}
		givesCopy(body, "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":", 1)(w, r)
	}))
	defer server.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := (&ClusterConfig{PeerTokenFile: token}).newPeer(server.URL, peerStalls)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.copyTo(t.Context(), filepath.Join(t.TempDir(), "copy")); err != nil || asked.Load() != 2 {
		t.Fatalf("asked %d times: %v", asked.Load(), err)
	}
}

// TestJoinWants: what is missing is said before anything is touched.
func TestJoinWants(t *testing.T) {
	for want, c := range map[string]ClusterConfig{
		"-data and -from are needed": {Data: "d"},
		"-node is needed":            {Data: "d", From: "http://127.0.0.1:1"},
		"-peer-token-file":           {Data: "d", From: "http://127.0.0.1:1", Node: "c", PeerTokenFile: "/nowhere/token"},
	} {
		if err := ClusterJoin(t.Context(), c, io.Discard); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := ClusterCheck(t.Context(), ClusterConfig{Deep: true}, io.Discard); !errors.Is(err, ErrConfig) {
		t.Errorf("-deep without -peers: %v", err)
	}
	if err := ClusterCheck(t.Context(), ClusterConfig{Deep: true, Peers: []string{"http://x"}}, io.Discard); !errors.Is(err, ErrConfig) {
		t.Errorf("-deep with one peer: %v", err)
	}
}

// TestDeepNamesTheFirstDifference: of three exports the first event is named that is not the same
// on all, and who has which.
func TestDeepNamesTheFirstDifference(t *testing.T) {
	event := func(seq int, payload string) string {
		return fmt.Sprintf(`{"seq":%d,"topic":"t","event_id":"e%d","timestamp":"2026-11-23T06:41:10Z","source":"s","payload":%s,"received_at":"r"}`+"\n", seq, seq, payload)
	}
	all := event(1, "1") + event(2, "2") + event(4, "4")
	for name, c := range map[string]struct {
		exports  [3]string
		says     []string
		compared int64
		expired  int64
	}{
		"the same":                   {[3]string{all, all, all}, nil, 3, 0},
		"no events":                  {[3]string{"", "", ""}, nil, 0, 0},
		"later ones":                 {[3]string{all + event(9, "9"), all, all + event(9, "8")}, nil, 3, 0},
		"another payload":            {[3]string{all, event(1, "1") + event(2, "3") + event(4, "4"), all}, []string{`seq 2, topic "t", event_id "e2"`, "node-0 and node-2 have", "node-1 have"}, 0, 0},
		"one that is missing":        {[3]string{all, all, event(1, "1") + event(4, "4")}, []string{`seq 2, topic "t", event_id "e2"`, "node-2 have not"}, 0, 0},
		"one that others lack":       {[3]string{all, event(1, "1") + event(2, "2") + event(3, "3") + event(4, "4"), all}, []string{"seq 3", "node-0 and node-2 have not", "node-1 have"}, 0, 0},
		"an end too early":           {[3]string{all, all, event(1, "1") + event(2, "2")}, []string{"seq 4", "node-2 have not"}, 0, 0},
		"three ways":                 {[3]string{all, event(1, "7") + event(2, "2"), event(1, "8")}, []string{"seq 1", "node-0 have", "node-1 have", "node-2 have"}, 0, 0},
		"an export that began later": {[3]string{all, event(2, "2") + event(4, "4"), all}, nil, 2, 1},
		"expired between two pages":  {[3]string{all, event(1, "1") + event(4, "4"), all}, nil, 2, 3},
		"all of it has expired":      {[3]string{all, "", all}, nil, 0, 4},
		"behind what has expired":    {[3]string{all, event(4, "4"), all}, []string{"seq 2", "node-1 have not"}, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var exports []*deepExport
			for i, text := range c.exports {
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }))
				defer server.Close()
				p, err := (&ClusterConfig{}).newPeer(server.URL, peerStalls)
				if err != nil {
					t.Fatal(err)
				}
				e, err := p.export(t.Context(), fmt.Sprint("node-", i), 4)
				if err != nil {
					t.Fatal(err)
				}
				defer e.body.Close()
				exports = append(exports, e)
			}
			compared, fault, err := compareExports(exports, func() (int64, error) { return c.expired, nil })
			if err != nil || c.says == nil && (fault != "" || compared != c.compared) || c.says != nil && fault == "" {
				t.Fatalf("%d, %q, %v", compared, fault, err)
			}
			for _, want := range c.says {
				if !strings.Contains(fault, want) {
					t.Errorf("%q is not in %q", want, fault)
				}
			}
		})
	}
}

// TestDeepWhileEventsExpire: an event that expires while the exports begin, one after the other, is
// in that of the first peer alone. That is no difference, and one that has not expired is.
func TestDeepWhileEventsExpire(t *testing.T) {
	for _, expires := range []int64{2, 0} {
		var begun atomic.Bool
		var peers []*peer
		for _, from := range []int64{1, 3} {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/stats" {
					expired := int64(0)
					if begun.Load() {
						expired = expires
					}
					fmt.Fprintf(w, `{"last_seq":4,"expired_seq":%d,"cluster":{"node":"from-%d","epoch":1,"position":9}}`, expired, from)
					return
				}
				begun.Store(true)
				for seq := from; seq <= 4; seq++ {
					fmt.Fprintf(w, `{"seq":%d,"topic":"t","event_id":"e"}`+"\n", seq)
				}
			}))
			defer server.Close()
			p, err := (&ClusterConfig{}).newPeer(server.URL, peerStalls)
			if err != nil {
				t.Fatal(err)
			}
			peers = append(peers, p)
		}
		var said strings.Builder
		faults, err := checkDeep(t.Context(), peers, &said)
		if err != nil || (len(faults) > 0) != (expires == 0) || expires > 0 && !strings.Contains(said.String(), "the same 2 events") {
			t.Errorf("through %d has expired: %q, %q, %v", expires, said.String(), faults, err)
		}
	}
}

// TestDeepBreaksOff: an export that breaks off is an error, and no difference.
func TestDeepBreaksOff(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"seq":1,"topic":"t","event_id":"e"}`+"\n"+`{"seq":2,`)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	p, err := (&ClusterConfig{}).newPeer(server.URL, peerStalls)
	if err != nil {
		t.Fatal(err)
	}
	a, err := p.export(t.Context(), "a", 9)
	if err != nil {
		t.Fatal(err)
	}
	defer a.body.Close()
	b, err := p.export(t.Context(), "b", 9)
	if err != nil {
		t.Fatal(err)
	}
	defer b.body.Close()
	if _, fault, err := compareExports([]*deepExport{a, b}, nil); err == nil || fault != "" {
		t.Errorf("%q, %v", fault, err)
	}
}

// TestPeerStalls: a peer that stops in the middle of an answer, or before its beginning, is an
// error that names it, and says how far it came. One that is only slow is not.
func TestPeerStalls(t *testing.T) {
	const stalls, event = 200 * time.Millisecond, `{"seq":1,"topic":"t","event_id":"e"}` + "\n"
	stopped := make(chan struct{})
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter)
		says   []string
	}{
		"in the middle": {func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, event+`{"seq":2,`)
			w.(http.Flusher).Flush()
			<-stopped
		}, []string{"the events of a behind seq 1", "nothing has come for 200ms"}},
		"at the beginning": {func(http.ResponseWriter) { <-stopped }, []string{"/events", "timeout"}},
		"it is slow": {func(w http.ResponseWriter) {
			for i := range len(event) {
				_, _ = io.WriteString(w, event[i:i+1])
				w.(http.Flusher).Flush()
				time.Sleep(stalls / 20)
			}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { c.answer(w) }))
			defer server.CloseClientConnections() // and Close would wait for what stands still
			p, err := (&ClusterConfig{}).newPeer(server.URL, stalls)
			if err != nil {
				t.Fatal(err)
			}
			p.stalls = stalls
			ended := make(chan error, 1)
			go func() {
				e, err := p.export(t.Context(), "a", 9)
				for err == nil && !e.ended {
					err = e.next()
				}
				ended <- err
			}()
			select {
			case err = <-ended:
			case <-time.After(10 * time.Second):
				t.Fatal("it is waited for without an end")
			}
			if (err == nil) != (c.says == nil) {
				t.Fatal(err)
			}
			for _, want := range c.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in %q", want, err)
				}
			}
		})
	}
	close(stopped)
}

// TestCopyStalls: so is one that stops in the middle of a copy.
func TestCopyStalls(t *testing.T) {
	stopped := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Digest", "sha-256=:eA==:")
		w.Header().Set("Content-Length", "17")
		_, _ = io.WriteString(w, "all o")
		w.(http.Flusher).Flush()
		<-stopped
	}))
	defer server.Close()
	defer close(stopped)
	p, err := (&ClusterConfig{}).newPeer(server.URL, peerMakes)
	if err != nil {
		t.Fatal(err)
	}
	p.stalls = 200 * time.Millisecond
	_, err = p.copyTo(t.Context(), filepath.Join(t.TempDir(), "copy"))
	if !errors.Is(err, errStalled) || !strings.Contains(err.Error(), "5 of 17 bytes") {
		t.Error(err)
	}
}
