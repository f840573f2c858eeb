package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestAReaderIsKilled: `loadgen follow`, killed again and again while its streams are cut within a
// frame, has printed every event, the repeats in the order of the stream, and goes on where its
// position was saved.
func TestAReaderIsKilled(t *testing.T) {
	const events = 400
	var resumed atomic.Int32 // streams that do not begin at the beginning
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		after, err := strconv.Atoi(r.URL.Query().Get("after"))
		if err != nil || r.URL.Path != "/events/stream" || r.URL.Query().Get("topic") != "t" || r.Header.Get("Authorization") != "Bearer s3cret" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if after > 0 {
			resumed.Add(1)
		}
		fmt.Fprintf(w, "retry: 1000\nid: %d\n\n", after)
		for seq := after + 1; seq <= min(events, after+100); seq++ {
			fmt.Fprintf(w, "id: %d\ndata: {\"seq\":%d}\n\n", seq, seq)
			w.(http.Flusher).Flush()
			time.Sleep(5 * time.Millisecond)
		}
		if after+100 < events {
			fmt.Fprintf(w, "id: %d\ndata: {\"seq\":%d}\n", after+101, after+101) // half a frame
			return
		}
		<-r.Context().Done()
	}))
	defer server.Close()
	folder := t.TempDir()
	state, printed, token := filepath.Join(folder, "state"), filepath.Join(folder, "printed"), filepath.Join(folder, "token")
	out, err := os.Create(printed)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := os.WriteFile(token, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	seqs := func() (all []int) {
		text, err := os.ReadFile(printed)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var e struct{ Seq int }
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%v: %q", err, line)
			}
			all = append(all, e.Seq)
		}
		return all
	}
	kills := 0
	for deadline := time.Now().Add(60 * time.Second); ; kills++ {
		command := exec.CommandContext(t.Context(), os.Args[0], "follow", "-url", server.URL, "-topic", "t", "-state", state, "-token-file", token)
		command.Env = append(os.Environ(), asLoadgen+"=1")
		command.Stdout, command.Stderr = out, t.Output()
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(300+rand.IntN(600)) * time.Millisecond)
		command.Process.Kill()
		command.Wait()
		if all := seqs(); len(all) > 0 && all[len(all)-1] == events || time.Now().After(deadline) {
			break
		}
	}
	last, repeats := 0, 0
	for _, seq := range seqs() {
		if seq > last+1 {
			t.Fatalf("%d behind %d: something is missing", seq, last)
		}
		if seq <= last {
			repeats++
		}
		last = max(last, seq)
	}
	t.Logf("%d kills, %d events, %d printed again", kills, last, repeats)
	if last != events || kills < 2 || resumed.Load() == 0 {
		t.Errorf("%d printed of %d, %d kills, %d streams that went on", last, events, kills, resumed.Load())
	}
	var stderr strings.Builder
	if code := run(t.Context(), []string{"follow", "-url", server.URL, "-topic", "other", "-state", state}, io.Discard, &stderr); code != 2 || !strings.Contains(stderr.String(), "is of the topic") {
		t.Errorf("the state of another topic: exit %d, %s", code, &stderr)
	}
	if code := run(t.Context(), []string{"follow", "-url", server.URL, "-topic", "t"}, io.Discard, &stderr); code != 1 || !strings.Contains(stderr.String(), "400") {
		t.Errorf("without a token: exit %d, %s", code, &stderr)
	}
}
