package senders_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sekali/bench/system/process"
)

const (
	readyTimeout = 60 * time.Second
	// storedTimeout bounds the wait for the last event: a sender's own pauses are in it.
	storedTimeout = 120 * time.Second
	pollPeriod    = 20 * time.Millisecond
	// down is how long the aggregator stays away after a kill.
	down = 300 * time.Millisecond
	// loseEvery: of so many answers of 2xx one is lost, unless a trial says another number.
	loseEvery = 5
	// maxBodyBytes bounds what the proxy holds of one request.
	maxBodyBytes = 64 << 20
)

// trial is an aggregator behind a proxy that loses answers.
type trial struct {
	t     *testing.T
	data  string
	proxy *httptest.Server
	flags []string

	token, tokenFile string // "": none is wanted

	loseEvery int64 // of so many answers of 2xx one is lost
	// badGateway: the proxy answers 502 where it else cuts the connection, as a load balancer does.
	badGateway bool
	// drops: the sender has lost what it could not send at once, and will send no more by finish.
	drops bool
	// meanwhile is called while the aggregator is away. What the sender has in hand then has reached
	// nobody: for a while before a kill no answer is lost, and then no request gets through.
	meanwhile  func()
	kept, shut atomic.Bool

	mu     sync.RWMutex
	p      *process.Process
	addr   string // another one in every life, which only the proxy has to know
	kills  int
	answer atomic.Int64 // answers of 2xx
	lost   atomic.Int64 // of them, those that the sender did not get

	capture capture
}

func newTrial(t *testing.T, flags ...string) *trial {
	t.Helper()
	tr := &trial{t: t, data: filepath.Join(t.TempDir(), "data"), flags: flags, loseEvery: loseEvery}
	tr.start()
	tr.proxy = httptest.NewServer(tr)
	t.Cleanup(func() {
		tr.proxy.CloseClientConnections()
		tr.proxy.Close()
		tr.p.Kill()
		<-tr.p.Exited()
	})
	return tr
}

// newPageTrial is a trial of a sender that is configured as the page shows, with its token.
func newPageTrial(t *testing.T) *trial {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(pageToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tr := newTrial(t, "-token-file="+file)
	tr.token, tr.tokenFile = pageToken, file
	return tr
}

func (tr *trial) start() {
	tr.t.Helper()
	p, err := process.Start(context.Background(), process.Config{Binary: binary, Args: tr.flags, Data: tr.data, Log: os.Stderr})
	if err != nil {
		tr.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	if err := p.WaitReady(ctx); err != nil {
		tr.t.Fatal(err)
	}
	tr.mu.Lock()
	tr.p, tr.addr = p, p.Addr
	tr.mu.Unlock()
}

// kill ends the aggregator with SIGKILL, and starts it again after a while.
func (tr *trial) kill() {
	tr.t.Helper()
	if tr.meanwhile != nil {
		for _, state := range []*atomic.Bool{&tr.kept, &tr.shut} {
			state.Store(true)
			defer state.Store(false)
			time.Sleep(down)
		}
	}
	tr.p.Kill()
	<-tr.p.Exited()
	tr.kills++
	time.Sleep(down)
	if tr.meanwhile != nil {
		tr.meanwhile()
	}
	tr.start()
}

// ServeHTTP hands a request on. Of what the aggregator has answered, some is lost.
func (tr *trial) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBodyBytes))
	seen := tr.capture.begin(r, body)
	if err != nil {
		seen(false, "not sent to its end: %v", err)
		return
	}
	if tr.shut.Load() {
		seen(false, "let through to nobody")
		tr.cut(w)
		return
	}
	tr.mu.RLock()
	addr := tr.addr
	tr.mu.RUnlock()
	request, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+addr+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		seen(false, "%v", err)
		tr.cut(w)
		return
	}
	request.Header = r.Header.Clone()
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		seen(false, "no answer: %v", err)
		tr.cut(w)
		return
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		seen(false, "no answer: %v", err)
		tr.cut(w)
		return
	}
	if r.Method == http.MethodPost && answer.StatusCode < 300 && !tr.kept.Load() && tr.answer.Add(1)%tr.loseEvery == 0 {
		tr.lost.Add(1)
		seen(false, "%d, lost on its way: %.100s", answer.StatusCode, text)
		tr.cut(w)
		return
	}
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.StatusCode)
	_, err = w.Write(text)
	seen(answer.StatusCode < 300, "%d, handed on (%v): %.100s", answer.StatusCode, err, text)
}

// cut ends a request without the aggregator's answer.
func (tr *trial) cut(w http.ResponseWriter) {
	if tr.badGateway {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
		_ = conn.Close()
	}
}

// counters is the part of /stats that counts events.
type counters struct {
	Received, Unique, Duplicates, Failed, Queue int
}

func (tr *trial) counters() (c counters, err error) {
	text, err := tr.get("/stats", "application/json")
	if err != nil {
		return c, err
	}
	var s struct {
		Received   int `json:"received"`
		Unique     int `json:"unique_processed"`
		Duplicates int `json:"duplicate_dropped"`
		Failed     int `json:"failed"`
		Queue      int `json:"queue_depth"`
	}
	err = json.Unmarshal(text, &s)
	return counters{s.Received, s.Unique, s.Duplicates, s.Failed, s.Queue}, err
}

// waitStored waits until so many events are stored and nothing is queued; the time may run out.
func (tr *trial) waitStored(want int) (c counters) {
	tr.t.Helper()
	for deadline := time.Now().Add(storedTimeout); ; time.Sleep(pollPeriod) {
		c, err := tr.counters()
		if err != nil {
			tr.t.Fatal(err)
		}
		if c.Unique >= want && c.Queue == 0 || time.Now().After(deadline) {
			return c
		}
	}
}

// number is the mark of each event that a trial sends, at the end of a word of its own.
var number = regexp.MustCompile(`trial-event-(\d+)`)

// mark is the text of the event n.
func mark(n int) string { return fmt.Sprintf("trial-event-%06d", n) }

// finish waits for the events 0 to sent-1, wants each to be stored once, notes the outcome. Of a
// sender that drops it wants none to be stored twice, and some to be lost. It says which are lost.
func (tr *trial) finish(o outcome, sent int) (lost []int) {
	tr.t.Helper()
	awaited := sent
	if tr.drops {
		awaited = 0
	}
	c := tr.waitStored(awaited)
	times := map[string]int{}
	for line := range strings.Lines(string(tr.export())) {
		if m := number.FindStringSubmatch(line); m != nil {
			times[m[1]]++
		}
	}
	for n := range sent {
		switch key := fmt.Sprintf("%06d", n); times[key] {
		case 1:
			o.Stored++
		case 0:
			o.Lost++
			lost = append(lost, n)
		default:
			tr.t.Errorf("event %d is stored %d times", n, times[key])
		}
	}
	o.Drops = tr.drops
	o.Sent, o.Duplicates, o.Kills, o.AnswersLost = sent, c.Duplicates, tr.kills, int(tr.lost.Load())
	tr.t.Logf("%+v of %+v", o, c)
	if (o.Lost > 0) != tr.drops || o.Stored+o.Lost != sent || c.Unique != len(times) {
		tr.t.Errorf("%s: %d sent, %d stored once, %d lost; /stats has %d; what was seen of the lost:\n%s", o.Sender, sent, o.Stored, o.Lost, c.Unique, tr.capture.of(lost))
	}
	if o.AnswersLost == 0 || o.Kills != 2 || o.Duplicates == 0 {
		tr.t.Errorf("%s: %d answers lost, %d kills, %d duplicates: the trial tried nothing", o.Sender, o.AnswersLost, o.Kills, o.Duplicates)
	}
	outcomesMu.Lock()
	outcomes = append(outcomes, o)
	outcomesMu.Unlock()
	return lost
}

// export is all stored events, a line each.
func (tr *trial) export() []byte {
	tr.t.Helper()
	text, err := tr.get("/events", "application/x-ndjson")
	if err != nil {
		tr.t.Fatal(err)
	}
	return text
}

// get asks the aggregator itself.
func (tr *trial) get(path, accept string) ([]byte, error) {
	request, err := http.NewRequest(http.MethodGet, tr.p.URL+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", accept)
	request.Header.Set("Authorization", "Bearer "+tr.token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.200s", path, answer.Status, text)
	}
	return text, err
}

// moduleVersion is the version of a module that this test is built of.
func moduleVersion(t *testing.T, path string) string {
	t.Helper()
	version, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", path).Output()
	if err != nil {
		t.Fatalf("go list -m %s: %v", path, err)
	}
	return strings.TrimSpace(string(version))
}
