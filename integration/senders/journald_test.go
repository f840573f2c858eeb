package senders_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	journalBatches = 12
	journalEntries = 100 // in a batch
)

// appendJournal adds entries to a journal file, as another machine's upload would.
func appendJournal(t *testing.T, remote *program, file string, from, n int) {
	t.Helper()
	var export bytes.Buffer
	for i := from; i < from+n; i++ {
		fmt.Fprintf(&export, "__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=4c25b4fc0a2b4c5eb0e0c9ab5d1c6a52\n", 1764295200000000+i, 1000+i)
		fmt.Fprintf(&export, "_MACHINE_ID=3c25b4fc0a2b4c5eb0e0c9ab5d1c6a53\n_HOSTNAME=trial\nSYSLOG_IDENTIFIER=trial\n")
		fmt.Fprintf(&export, "MESSAGE\n%s%s\n\n", []byte{byte(len(mark(i)) + 5), 0, 0, 0, 0, 0, 0, 0}, mark(i)+"\nmore") // a line break makes it binary
	}
	command := remote.run("-o", file, "-")
	command.Stdin = &export
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// upload runs systemd-journal-upload until it has sent all, as systemd would start it again, and
// says how often it did.
func (tr *trial) upload(p *program, file, state string) (restarts int) {
	tr.t.Helper()
	_, address, found := strings.Cut(strings.TrimSpace(tr.configuration("journald")), "URL=")
	if !found {
		tr.t.Fatalf("%s shows no URL of journald", page)
	}
	for deadline := time.Now().Add(storedTimeout); ; time.Sleep(pollPeriod) {
		out, err := p.run("--url="+address, "--file="+file, "--save-state="+state, "--follow=no").CombinedOutput()
		if err == nil {
			return restarts
		}
		restarts++
		if time.Now().After(deadline) {
			tr.t.Fatalf("%v: %s", err, out)
		}
	}
}

// TestJournald: systemd-journal-upload sends a journal as it grows.
func TestJournald(t *testing.T) {
	p := findProgram(t, "systemd-journal-upload", "lib/systemd/systemd-journal-upload")
	remote := findProgram(t, "systemd-journal-remote", "lib/systemd/systemd-journal-remote")
	tr := newPageTrial(t)
	dir := t.TempDir()
	file, state := filepath.Join(dir, "trial.journal"), filepath.Join(dir, "state")
	restarts := 0
	for batch := range journalBatches {
		appendJournal(t, remote, file, batch*journalEntries, journalEntries)
		killed := make(chan struct{})
		if batch == 3 || batch == 8 {
			go func() {
				defer close(killed)
				tr.kill()
			}()
		} else {
			close(killed)
		}
		restarts += tr.upload(p, file, state)
		<-killed
	}
	version, err := p.run("--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(version), "\n")
	tr.finish(outcome{Sender: "systemd-journal-upload", Version: first, Protocol: "journald upload", Restarts: restarts}, journalBatches*journalEntries)
}
