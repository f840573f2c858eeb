package integration_test

import (
	"net"
	"strings"
	"testing"
	"time"
)

const (
	// waiting is how many events are published at once to an aggregator that commits
	// them one by one: it answers long before it has stored them.
	waiting = 2000
	// oneByOne makes the writer slow, so that a queue is sure to form.
	oneByOne = "-batch-events=1"
)

// TestKillRightAfterTheAnswer is what the three levels promise, and what they do
// not. The loss at memory is the control: without it the test could not see one.
func TestKillRightAfterTheAnswer(t *testing.T) {
	t.Parallel()
	for _, level := range []struct {
		ack   string
		loses bool
	}{{"memory", true}, {"journal", false}, {"store", false}} {
		t.Run(level.ack, func(t *testing.T) {
			t.Parallel()
			data := dataFolder(t)
			a := start(t, data, oneByOne)
			a.mustPublish(t, arrayOf(0, waiting), level.ack)
			a.kill()
			checkDatabase(t, data)

			a = start(t, data)
			now, want := a.drained(t), distinct(waiting)
			if err := newStored().read(a.export(t)); err != nil {
				t.Error(err)
			}
			if lost := want - now.Unique; (lost > 0) != level.loses {
				t.Errorf("%d of %d acknowledged events are lost", lost, want)
			}
			if !level.loses && now.Received != waiting {
				t.Errorf("%+v after %d events", now, waiting)
			}
			a.stop(t)
		})
	}
}

// TestStopDrains: SIGTERM loses nothing that was acknowledged, not even at memory,
// and connections on which nothing happens do not hold it up.
func TestStopDrains(t *testing.T) {
	t.Parallel()
	data := dataFolder(t)
	a := start(t, data, oneByOne)
	for _, begun := range []string{"", "POST /publish HTTP/1.1\r\nHost: aggregator\r\nContent-Length: 100\r\n\r\n["} {
		connection, err := net.Dial("tcp", a.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		if _, err := connection.Write([]byte(begun)); err != nil {
			t.Fatal(err)
		}
	}
	a.mustPublish(t, arrayOf(0, waiting), "memory")
	before, err := a.stats()
	if err != nil {
		t.Fatal(err)
	}
	if before.Queue == 0 {
		t.Fatalf("nothing left to drain: %+v", before)
	}
	a.stop(t)
	want := distinct(waiting)
	if events := checkDatabase(t, data); events != want {
		t.Errorf("%d of %d acknowledged events are stored", events, want)
	}
	a = start(t, data)
	if now := a.drained(t); now.Received != waiting || now.Unique != want {
		t.Errorf("after the restart: %+v, want %d received, %d unique", now, waiting, want)
	}
}

// TestForeignTransaction: somebody's shell holds the database for longer than any
// busy timeout; publishers are served from the journal, and all of it is stored later.
func TestForeignTransaction(t *testing.T) {
	t.Parallel()
	const held = 3 * time.Second
	data := dataFolder(t)
	a := start(t, data)
	a.mustPublish(t, requestBody(0), "store")
	shell := openDatabase(t, data)
	defer shell.Close()
	if _, err := shell.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	a.mustPublish(t, requestBody(1), "journal")
	time.Sleep(held)
	if now, err := a.stats(); err != nil || now.Queue != eventsPerRequest {
		t.Errorf("while the database is held: %+v, %v", now, err)
	}
	if _, err := shell.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if now := a.drained(t); now.Received != 2*eventsPerRequest || now.Unique != distinct(2*eventsPerRequest) {
		t.Errorf("afterwards: %+v", now)
	}
	a.stop(t)
}

// TestSecondProcess: two writers would each believe that they own the journal.
func TestSecondProcess(t *testing.T) {
	data := dataFolder(t)
	first := start(t, data)
	second := run(t, nil, "-listen", "127.0.0.1:0", "-admin", "", "-data", data)
	if second.code != 1 {
		t.Errorf("the second aggregator ended with exit code %d, want 1", second.code)
	}
	second.checkOneLine(t)
	if !strings.Contains(second.stderr, "another aggregator runs on "+data) {
		t.Errorf("the message does not say where: %s", second.stderr)
	}
	first.mustPublish(t, requestBody(0), "store")
	if now := first.drained(t); now.Received != eventsPerRequest {
		t.Errorf("the first aggregator: %+v", now)
	}
	first.kill()
	start(t, data).stop(t) // the lock dies with its owner
}

// distinct is how many originals the first n events are occurrences of.
func distinct(n int) int { return n - n/repeatEvery }
