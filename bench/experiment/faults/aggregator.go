package faults

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	_ "modernc.org/sqlite"

	"sekali/bench/internal/audit"
	"sekali/bench/record"
	"sekali/bench/system/process"
	"sekali/loadgen/stream"
)

// aggregator is a running process and a client of its own for it.
type aggregator struct {
	*process.Process
	client *http.Client
	log    *processLog
}

// processLog keeps what a process says.
type processLog struct {
	mu   sync.Mutex
	text bytes.Buffer
	to   io.Writer
}

func (l *processLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	return l.to.Write(p)
}

func (l *processLog) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.text.Bytes(), []byte(text))
}

// start runs the aggregator on data and returns once it is ready.
func (s *sitting) start(data string, flags ...string) (*aggregator, error) {
	a, err := s.launch(s.Aggregator, nil, data, flags...)
	if err != nil {
		return nil, err
	}
	return a, a.ready(s.ctx)
}

// startCrash is start of the build with small bounds, whose environment says what else it does.
func (s *sitting) startCrash(environ []string, data string, flags ...string) (*aggregator, error) {
	return s.launch(s.Crash, environ, data, flags...)
}

// launch runs a program until the sitting ends. It may end at once, which is the error.
func (s *sitting) launch(program string, environ []string, data string, flags ...string) (*aggregator, error) {
	return s.run(process.Config{Binary: program, Args: flags, Environ: environ, Data: data})
}

// run is launch of whatever the config says.
func (s *sitting) run(config process.Config) (*aggregator, error) {
	log := &processLog{to: s.Log}
	config.Log = log
	p, err := process.Start(context.Background(), config)
	if err != nil {
		return nil, err
	}
	a := &aggregator{Process: p, client: newClient(publishers), log: log}
	s.onEnd(func() error {
		a.client.CloseIdleConnections()
		a.kill()
		return nil
	})
	return a, nil
}

func (a *aggregator) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	return a.WaitReady(ctx)
}

// kill ends the process with SIGKILL and waits until it is gone.
func (a *aggregator) kill() {
	a.Kill()
	<-a.Exited()
}

// stop ends the process with SIGTERM; anything but exit code 0 in time is an error.
func (a *aggregator) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	_, err := a.Stop(ctx)
	return err
}

// isReady asks /readyz.
func (a *aggregator) isReady() bool {
	_, err := a.get("/readyz", "*/*")
	return err == nil
}

func (a *aggregator) get(path, accept string) ([]byte, error) {
	request, err := http.NewRequest(http.MethodGet, a.URL+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", accept)
	answer, err := a.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.500s", path, answer.Status, body)
	}
	return body, err
}

// publish posts events and returns the status and the body of the answer.
func (a *aggregator) publish(body []byte, ack string) (int, []byte, error) {
	answer, err := a.client.Post(a.URL+"/publish?ack="+ack, "application/json", bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, text, err
}

// stats returns the counters.
func (a *aggregator) stats() (audit.Counters, error) {
	var told audit.Told
	body, err := a.get("/stats", "application/json")
	if err == nil {
		err = json.Unmarshal(body, &told)
	}
	return told.Whole(), err
}

// drained waits until nothing is queued and returns the counters.
func (a *aggregator) drained() (audit.Counters, error) {
	for deadline := time.Now().Add(drainTimeout); ; time.Sleep(pollPeriod) {
		c, err := a.stats()
		if err != nil || c.QueueDepth == 0 {
			return c, err
		}
		if time.Now().After(deadline) {
			return c, fmt.Errorf("not drained after %v: %+v", drainTimeout, c)
		}
	}
}

// export reads back everything that is stored, as originals of the stream.
func (a *aggregator) export(of *stream.Stream) (*record.Stored, error) {
	body, err := a.get("/events", "application/x-ndjson")
	if err != nil {
		return nil, err
	}
	all := record.NewCollector(of)
	for e, err := range audit.Read(bytes.NewReader(body)) {
		if err != nil {
			return nil, err
		}
		all.Add(e)
	}
	stored := all.Stored(false)
	return &stored, nil
}

// check runs the program's own check of a stopped data folder.
func (s *sitting) check(data string) error {
	if out, err := exec.CommandContext(s.ctx, s.Aggregator, "check", "-data", data).CombinedOutput(); err != nil {
		return fmt.Errorf("check: %v: %s", err, out)
	}
	return nil
}

// openDatabase opens <data>/events.db as the sqlite3 shell would; it is closed at the sitting's end
// at the latest.
func (s *sitting) openDatabase(data string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: filepath.Join(data, "events.db")}).EscapedPath())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	s.onEnd(func() error { _ = db.Close(); return nil }) // nothing of it stays
	return db, nil
}
