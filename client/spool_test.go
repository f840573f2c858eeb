package client_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"sekali/client"
)

// The variables that make the test binary a publisher, to be killed.
const (
	childURL   = "CLIENT_TEST_URL"
	childSpool = "CLIENT_TEST_SPOOL"
	childLife  = "CLIENT_TEST_LIFE"
)

// child publishes events until it is killed, and prints each number when Publish has returned.
func child() error {
	c, err := client.New(os.Getenv(childURL), client.Options{Spool: os.Getenv(childSpool), Linger: -1})
	if err != nil {
		return err
	}
	client.Hasten(c)
	for i := 0; ; i++ {
		payload := fmt.Sprintf(`{"p":%s,"i":%d}`, os.Getenv(childLife), i)
		if err := c.Publish(context.Background(), client.Event{Topic: "t", Payload: json.RawMessage(payload)}); err != nil {
			return err
		}
		fmt.Println(i)
	}
}

// TestSpoolAfterKill kills a program with SIGKILL again and again while the aggregator is mostly
// away. All that a Publish had taken is stored, once, in order.
func TestSpoolAfterKill(t *testing.T) {
	const lives = 6
	f := newFake()
	defer f.Close()
	f.mu.Lock() // no request of another process tells the race detector that it came later
	f.next = func() fault { return []fault{none, refuse, refuse, refuse, lose}[rand.IntN(5)] }
	f.mu.Unlock()
	dir := t.TempDir()
	var promised [lives]int
	for life := range lives {
		command := exec.CommandContext(within(t), os.Args[0])
		command.Env = append(os.Environ(), childURL+"="+f.URL, childSpool+"="+dir, childLife+"="+strconv.Itoa(life))
		command.Stderr = t.Output()
		out, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for enough := 1 + rand.IntN(300); lines.Scan(); {
			if promised[life]++; promised[life] == enough {
				command.Process.Kill()
			}
		}
		command.Wait() // it was killed: an error
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.spool"))
	if err != nil || len(left) == 0 {
		t.Fatalf("no kill left anything in the spool: %v", err)
	}
	c := open(t, f.URL, client.Options{Spool: dir})
	if err := c.Close(within(t)); err != nil {
		t.Fatal(err)
	}
	var stored [lives]int
	for _, e := range f.events() {
		var from struct{ P, I int }
		if err := json.Unmarshal(e.Payload, &from); err != nil {
			t.Fatal(err)
		}
		if from.I != stored[from.P] {
			t.Fatalf("life %d: event %d is stored after %d others", from.P, from.I, stored[from.P])
		}
		stored[from.P]++
	}
	for life := range lives {
		if promised[life] == 0 || stored[life] < promised[life] {
			t.Errorf("life %d: %d stored, %d promised", life, stored[life], promised[life])
		}
	}
	f.mu.Lock()
	t.Logf("promised %v, stored %v, %d came again, %d segments after the last kill", promised, stored, f.repeats, len(left))
	f.mu.Unlock()
	if left, _ := filepath.Glob(filepath.Join(dir, "*.spool")); len(left) > 0 {
		t.Errorf("all is answered, and %v are left", left)
	}
}

// fill publishes n events of a kilobyte to a spool whose aggregator is away.
func fill(t *testing.T, dir string, n int) {
	t.Helper()
	c := open(t, "http://127.0.0.1:1", client.Options{Spool: dir, BatchBytes: 2 << 10, SpoolBytes: 64 << 10})
	for i := range n {
		payload := fmt.Sprintf(`{"p":0,"i":%d,"kind":"good","x":%q}`, i, strings.Repeat("x", 1000))
		if err := c.Publish(t.Context(), client.Event{Topic: "t", Payload: json.RawMessage(payload)}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Close(ctx); !errors.Is(err, client.ErrUnsent) {
		t.Errorf("Close with the aggregator away: %v", err)
	}
}

// drain returns how many events a spool still had.
func drain(t *testing.T, dir string) (int, error) {
	t.Helper()
	f := newFake()
	defer f.Close()
	c, err := client.New(f.URL, client.Options{Spool: dir})
	if err != nil {
		return 0, err
	}
	if err := c.Close(within(t)); err != nil {
		t.Error(err)
	}
	for i, e := range f.events() {
		if !strings.Contains(string(e.Payload), fmt.Sprintf(`"i":%d,`, i)) {
			t.Errorf("event %d is %.20s", i, e.Payload)
		}
	}
	return len(f.events()), nil
}

func TestSpoolFull(t *testing.T) {
	f := newFake()
	defer f.Close()
	away := true
	f.next = func() fault {
		if away {
			return refuse
		}
		return none
	}
	c := open(t, f.URL, client.Options{Spool: t.TempDir(), BatchBytes: 2 << 10, SpoolBytes: 16 << 10})
	event := client.Event{Topic: "t", Payload: json.RawMessage(strconv.Quote(strings.Repeat("x", 1000)))}
	taken, err := 0, error(nil)
	for ; err == nil && taken < 100; taken++ {
		err = c.Publish(t.Context(), event)
	}
	if !errors.Is(err, client.ErrSpoolFull) || taken < 10 || taken > 16 {
		t.Fatalf("after %d events of a kilobyte: %v", taken, err)
	}
	f.mu.Lock()
	away = false
	f.mu.Unlock()
	if err := c.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := c.Publish(t.Context(), event); err != nil {
			t.Errorf("when there is room again: %v", err)
		}
	}
	if err := c.Close(within(t)); err != nil || len(f.events()) != taken-1+10 {
		t.Errorf("%d stored of %d: %v", len(f.events()), taken-1+10, err)
	}
}

func TestSpoolInUse(t *testing.T) {
	dir := t.TempDir()
	c := open(t, "http://127.0.0.1:1", client.Options{Spool: dir})
	if _, err := client.New("http://127.0.0.1:1", client.Options{Spool: dir}); !errors.Is(err, client.ErrSpoolInUse) {
		t.Error(err)
	}
	if err := c.Close(within(t)); err != nil {
		t.Error(err)
	}
}

// TestSpoolDamaged: what was promised and cannot be read is an error, and never passed over; what a
// crash can leave behind it is cut off.
func TestSpoolDamaged(t *testing.T) {
	const events = 20
	for name, test := range map[string]struct {
		change func(segments []string)
		want   int // events; -1: damaged
	}{
		"nothing":             {func([]string) {}, events},
		"torn end":            {func(s []string) { appendTo(t, s[len(s)-1], "SKL1\x50\x00\x00\x00torn") }, events},
		"zeros at the end":    {func(s []string) { appendTo(t, s[len(s)-1], string(make([]byte, 5000))) }, events},
		"bit in the newest":   {func(s []string) { flip(t, s[len(s)-1], 100) }, -1},
		"bit in the oldest":   {func(s []string) { flip(t, s[0], 100) }, -1},
		"end of the oldest":   {func(s []string) { appendTo(t, s[0], "x") }, -1},
		"oldest is cut short": {func(s []string) { shorten(t, s[0], 1500) }, -1},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			fill(t, dir, events)
			segments, err := filepath.Glob(filepath.Join(dir, "*.spool"))
			if err != nil || len(segments) < 2 {
				t.Fatalf("%d segments: %v", len(segments), err)
			}
			test.change(segments)
			got, err := drain(t, dir)
			if errors.Is(err, client.ErrSpoolDamaged) {
				got = -1
			} else if err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("%d events, want %d: %v", got, test.want, err)
			}
		})
	}
}

func appendTo(t *testing.T, name, text string) {
	t.Helper()
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = io.WriteString(file, text)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func flip(t *testing.T, name string, at int) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err == nil {
		text[at] ^= 4
		err = os.WriteFile(name, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func shorten(t *testing.T, name string, size int64) {
	t.Helper()
	if err := os.Truncate(name, size); err != nil {
		t.Fatal(err)
	}
}

// TestScanProof: a hole before a later record is what a power loss can leave of records that were
// written together, unless the later one was written when the place of the hole was on the disk.
func TestScanProof(t *testing.T) {
	first := client.AppendRecord(nil, []byte(`{"a":1}`), 0)
	hole := append(bytes.Clone(first), make([]byte, 23)...)
	for durable, damaged := range map[int]bool{0: false, len(first): false, len(first) + 1: true, len(hole): true} {
		events, whole, _, err := client.Scan(client.AppendRecord(bytes.Clone(hole), []byte(`{"c":3}`), int64(durable)))
		if events != 1 || int(whole) != len(first) || errors.Is(err, client.ErrSpoolDamaged) != damaged {
			t.Errorf("durable %d: %d events in %d bytes, %v", durable, events, whole, err)
		}
	}
}

// FuzzScan: whatever is in a segment, what is read is what was written, up to a whole record, and
// the records read make the same bytes again.
func FuzzScan(f *testing.F) {
	two := client.AppendRecord(client.AppendRecord(nil, []byte(`{"a":1}`), 0), []byte(`{"b":2}`), 23)
	f.Add(two)
	f.Add(two[:len(two)-1])
	f.Add(append(bytes.Clone(two[1:]), two...))
	f.Add([]byte("SKL1\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		events, whole, size, err := client.Scan(text)
		if err != nil && !errors.Is(err, client.ErrSpoolDamaged) {
			t.Fatal(err)
		}
		if whole > int64(len(text)) || whole != size+int64(events)*client.HeaderBytes {
			t.Fatalf("%d events of %d bytes in %d of %d", events, size, whole, len(text))
		}
		var again []byte
		for range events {
			event, durable, ok := client.ParseRecord(text[len(again):])
			if !ok {
				t.Fatal("a record that was counted is none")
			}
			again = client.AppendRecord(again, event, durable)
		}
		if !bytes.Equal(again, text[:whole]) {
			t.Fatal("the records make other bytes")
		}
		// One more record behind the whole ones is found, and cut anywhere it is not.
		more := client.AppendRecord(bytes.Clone(text[:whole]), []byte("x"), whole)
		if n, _, _, err := client.Scan(more); n != events+1 || err != nil {
			t.Fatalf("%d events, want %d: %v", n, events+1, err)
		}
		if n, _, _, err := client.Scan(more[:len(more)-1]); n != events || err != nil {
			t.Fatalf("%d events, want %d: %v", n, events, err)
		}
	})
}
