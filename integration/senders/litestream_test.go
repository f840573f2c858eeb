package senders_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

const (
	litestreamEvents = 20000
	// litestreamSync is more than the pause between two of its copies of the WAL.
	litestreamSync = 3 * time.Second
)

// TestLitestream: Litestream copies the database while events come, the aggregator is killed twice
// and Litestream is stopped and started. What it restores is whole: each event is there as it was,
// and all of them, published again, are duplicates. Both killed at once is not tried: the page says
// why.
func TestLitestream(t *testing.T) {
	p := &program{t: t, path: buildModule(t, "litestream")}
	tr := newTrial(t)
	dir := t.TempDir()
	copies, restored := filepath.Join(dir, "copies"), filepath.Join(dir, "restored")
	start := func() { p.start("replicate", filepath.Join(tr.data, "events.db"), copies) }
	start()
	published := make(chan error, 1)
	go func() { published <- tr.publish(litestreamEvents, "-rate", "4000") }()
	for range 2 {
		time.Sleep(time.Second)
		tr.kill()
		p.stop()
		start()
	}
	if err := <-published; err != nil {
		t.Fatal(err)
	}
	if c := tr.waitStored(litestreamEvents); c.Unique != litestreamEvents {
		t.Fatalf("%+v", c)
	}
	stored := tr.export()
	if lines := bytes.Count(stored, []byte{'\n'}); lines != litestreamEvents {
		t.Fatalf("%d events are stored, want %d", lines, litestreamEvents)
	}
	time.Sleep(litestreamSync)
	p.stop()
	tr.p.Kill()
	<-tr.p.Exited()

	if err := os.Mkdir(restored, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, command := range []*exec.Cmd{
		p.run("restore", copies, filepath.Join(restored, "events.db")),
		exec.CommandContext(t.Context(), binary, "check", "-data", restored),
	} {
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
	tr.data = restored
	tr.start()
	if got := tr.export(); !bytes.Equal(got, stored) {
		t.Errorf("restored are %d events of %d, or others", bytes.Count(got, []byte{'\n'}), litestreamEvents)
	}
	if err := tr.publish(litestreamEvents); err != nil {
		t.Fatal(err)
	}
	if c := tr.waitStored(litestreamEvents); c.Unique != litestreamEvents || c.Queue != 0 || c.Received-c.Duplicates != litestreamEvents {
		t.Errorf("restored, and published again: %+v, want %d stored once", c, litestreamEvents)
	}
}

// publish has loadgen publish the first events of its stream, through the proxy.
func (tr *trial) publish(events int, more ...string) error {
	args := append([]string{"publish", "-url", tr.proxy.URL, "-count", strconv.Itoa(events)}, more...)
	command := exec.Command(loadgen, args...)
	command.Stderr = os.Stderr
	return command.Run()
}
