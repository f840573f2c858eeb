package integration_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// journalEntry is an entry in journald's export format; its MESSAGE is binary.
func journalEntry(n int, message string) string {
	length := make([]byte, 8) // little-endian
	length[0], length[1] = byte(len(message)), byte(len(message)>>8)
	return fmt.Sprintf("__CURSOR=s=1;i=%d\n__REALTIME_TIMESTAMP=%d\nSYSLOG_IDENTIFIER=unit\nMESSAGE\n%s%s\n\n", n, 1764295200000000+n, length, message)
}

// uploadConn begins an upload in chunks as curl does: it waits for 100 Continue.
func uploadConn(t *testing.T, a *aggregator) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", a.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(requestTimeout)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /upload HTTP/1.1\r\nHost: %s\r\nContent-Type: application/vnd.fdo.journal\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n", a.Addr)
	answers := bufio.NewReader(conn)
	if line, err := answers.ReadString('\n'); err != nil || !strings.Contains(line, " 100 ") {
		t.Fatalf("%q, %v", line, err)
	}
	if line, err := answers.ReadString('\n'); err != nil || line != "\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return conn, answers
}

// TestUploadIsStoredInPieces: what has come of an upload is stored before its end, and stays when
// the aggregator is killed; the next upload goes through it again, and each entry is stored once.
// It is longer than a body may be, by far.
func TestUploadIsStoredInPieces(t *testing.T) {
	const entries, large = 3000, 20_000 // 60 MB
	data := dataFolder(t)
	a := start(t, data, "-max-body-bytes=1048576")
	conn, _ := uploadConn(t, a)
	for n := range entries / 2 {
		entry := journalEntry(n, strings.Repeat("x", large))
		fmt.Fprintf(conn, "%x\r\n%s\r\n", len(entry), entry)
	}
	for deadline := time.Now().Add(requestTimeout); ; time.Sleep(samplePeriod) {
		if c, err := a.stats(); err != nil {
			t.Fatal(err)
		} else if c.Received > entries/2-30 { // what is left is no piece yet
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing is stored before the end")
		}
	}
	a.kill()
	a = start(t, data, "-max-body-bytes=1048576")
	body, to := io.Pipe()
	go func() {
		for n := range entries {
			_, _ = io.WriteString(to, journalEntry(n, strings.Repeat("x", large)))
		}
		_ = to.Close()
	}()
	answer, err := a.client.Post(a.URL+"/upload", "application/vnd.fdo.journal", body)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusAccepted {
		t.Error(answer.Status)
	}
	// With a length, as of a file.
	if status, text, _ := a.send(t, http.MethodPost, sent{path: "/upload", body: strings.Repeat(journalEntry(0, strings.Repeat("x", large)), 100)}); status != http.StatusAccepted {
		t.Errorf("with a length: %d %s", status, text)
	}
	if c := a.drained(t); c.Unique != entries || c.Duplicates < entries/2-30 {
		t.Errorf("%+v", c)
	}
}

// TestUploadThatEndsBadly: the entries before what cannot be read are stored, and that is a dead
// letter; an upload whose connection is cut inside an entry stores those that are whole.
func TestUploadThatEndsBadly(t *testing.T) {
	a := start(t, dataFolder(t))
	if status, text, _ := a.send(t, http.MethodPost, sent{path: "/upload", body: journalEntry(1, "m") + "=bad\n\n"}); status != http.StatusBadRequest {
		t.Errorf("%d %s", status, text)
	}
	if got := a.letters(t); len(got) != 1 || got[0].Source != "/upload" || got[0].Payload != "=bad" {
		t.Errorf("%+v", got)
	}
	if status, _, _ := a.send(t, http.MethodPost, sent{path: "/upload", header: map[string]string{"Content-Encoding": "lz4"}}); status != http.StatusUnsupportedMediaType {
		t.Errorf("compressed: %d", status)
	}
	conn, _ := uploadConn(t, a)
	entry := journalEntry(2, "whole") + journalEntry(3, "cut")[:70]
	fmt.Fprintf(conn, "%x\r\n%s\r\n", len(entry), entry)
	_ = conn.Close()
	for deadline := time.Now().Add(requestTimeout); ; time.Sleep(samplePeriod) {
		c, err := a.stats()
		if err != nil {
			t.Fatal(err)
		}
		if c.Unique == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", c)
		}
	}
	if c := a.drained(t); c.Unique != 2 {
		t.Errorf("%+v", c)
	}
}
