package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// holdVariable makes the test binary a program that has a network, and then panics or waits to be
// killed.
const holdVariable = "SEKALI_TEST_WIRE"

func TestMain(m *testing.M) {
	how, delay, _ := strings.Cut(os.Getenv(holdVariable), " ")
	if how == "" {
		goleak.VerifyTestMain(m)
		return
	}
	rtt, err := time.ParseDuration(delay)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	w, err := Open(Limit{MbitPerS: 10, RTT: rtt})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	// A connection that is open, with bytes on their way.
	listener, err := w.listen()
	if err == nil {
		var conn net.Conn
		if conn, err = w.Dial(context.Background(), "tcp", listener.Addr().String()); err == nil {
			go conn.Write(make([]byte, 1<<20)) // which nobody reads
		}
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(w.name)
	if how == "panic" {
		panic("on purpose")
	}
	time.Sleep(time.Hour)
}

// open makes a network for a test, or skips it where none can be made.
func open(t *testing.T, limit Limit) *Wire {
	t.Helper()
	if why := Cannot(limit); why != nil {
		t.Skip("skipped: ", why)
	}
	w, err := Open(limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat("/sys/class/net/" + w.name); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", w.name, err)
		}
	})
	return w
}

// connect listens at this end, and connects from the other.
func connect(t *testing.T, w *Wire) (net.Listener, net.Conn) {
	t.Helper()
	listener, err := w.listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	conn, err := w.Dial(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // again, where a test has closed it
	return listener, conn
}

// nothingLeft fails if an interface of this process is there.
func nothingLeft(t *testing.T) {
	t.Helper()
	if left, err := filepath.Glob(fmt.Sprintf("/sys/class/net/sk%dw*", os.Getpid())); err != nil || len(left) > 0 {
		t.Errorf("left are %q, %v", left, err)
	}
}

// held fails unless the network does what it is held to: never more, and as much in one of several
// tries, for on a busy machine the kernel lets packets through late.
func held(t *testing.T, limit Limit) {
	t.Helper()
	w := open(t, limit)
	var m Measured
	for range 5 {
		var err error
		if m, err = w.Measure(t.Context()); err != nil || m.MbitPerS > 1.05*float64(limit.MbitPerS) || m.RTT < max(1, limit.RTT*85/100) {
			t.Fatalf("%+v: %+v, %v", limit, m, err)
		}
		if m.MbitPerS >= 0.7*float64(limit.MbitPerS) && (limit.RTT == 0 || m.RTT < 2*limit.RTT+time.Millisecond) {
			return
		}
	}
	t.Errorf("%+v: %+v", limit, m)
}

// TestRate: what passes is what the network is held to; without a limit it is far more, so that the
// limit is what is seen.
func TestRate(t *testing.T) {
	held(t, Limit{MbitPerS: 20})
	held(t, Limit{MbitPerS: 200})
	if passes, err := open(t, Limit{}).fill(t.Context()); err != nil || passes < 400 {
		t.Errorf("without a limit %.0f Mbit/s pass: %v", passes, err)
	}
}

// TestDelay: a round trip takes as long as it is to, and the delay holds back no more than the rate
// does.
func TestDelay(t *testing.T) {
	held(t, Limit{RTT: time.Millisecond})
	held(t, Limit{RTT: 10 * time.Millisecond})
	held(t, Limit{RTT: 10 * time.Millisecond, MbitPerS: 50})
	if passes, err := open(t, Limit{RTT: time.Millisecond}).fill(t.Context()); err != nil || passes < 400 {
		t.Errorf("without a limit %.0f Mbit/s pass: %v", passes, err)
	}
}

// TestInOrder: what is delayed arrives whole, in order, and ends; and nothing is kept of it.
func TestInOrder(t *testing.T) {
	listener, conn := connect(t, open(t, Limit{RTT: 2 * time.Millisecond}))
	sent := make([]byte, 8<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(sent) // it has no error
	go func() {
		_, _ = conn.Write(sent)
		_ = conn.Close()
	}()
	here, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	if got, err := io.ReadAll(here); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes arrived, or others: %v", len(got), len(sent), err)
	}
}

// TestCarrier: packets leave in order, none before its time.
func TestCarrier(t *testing.T) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	others, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, fd := range []int{ends[0], ends[1], others[0], others[1]} {
			_ = unix.Close(fd)
		}
	}()
	c := &carrier{from: ends[1], to: others[0], delay: time.Second}
	now := time.Now()
	arrived := func() (got string) {
		var buffer [10]byte
		for {
			n, err := unix.Read(others[1], buffer[:])
			if err != nil {
				return got
			}
			got += string(buffer[:n])
		}
	}
	for i, word := range []string{"a", "bb", "c"} {
		if _, err := unix.Write(ends[0], []byte(word)); err != nil {
			t.Fatal(err)
		}
		if err := c.take(now.Add(time.Duration(i) * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	for after, want := range []string{"", "a", "bb", "c", ""} {
		next := c.letThrough(now.Add(time.Duration(after) * time.Second))
		if got := arrived(); got != want || (next == nil) != (after > 2) {
			t.Errorf("after %d s: %q, not %q; the next in %v", after, got, want, next)
		}
	}
	if c.bytes != 0 || len(c.queue) != 0 {
		t.Errorf("kept are %d bytes in %d packets", c.bytes, len(c.queue))
	}
}

// TestOtherEnd: a connection is from the other end, this process stays where it is, and two
// networks are two.
func TestOtherEnd(t *testing.T) {
	before, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	one, two := open(t, Limit{}), open(t, Limit{})
	for _, w := range []*Wire{one, two} {
		listener, conn := connect(t, w)
		if got := conn.LocalAddr().(*net.TCPAddr).IP.String(); got != w.peer || w.peer == w.host {
			t.Errorf("from %s, not from %s", got, w.peer)
		}
		// From here it is this machine's own address, and another way.
		own, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer own.Close()
		if got := own.LocalAddr().(*net.TCPAddr).IP.String(); got != w.host {
			t.Errorf("from %s, not from %s", got, w.host)
		}
	}
	if one.name == two.name || one.host == two.host {
		t.Errorf("two networks have one name: %+v, %+v", one, two)
	}
	if after, err := os.Readlink("/proc/self/ns/net"); err != nil || after != before {
		t.Errorf("this process was in %s, and is in %s: %v", before, after, err)
	}
	if _, err := one.Dial(t.Context(), "tcp", net.JoinHostPort(one.host, "1")); err == nil {
		t.Error("nobody listens there")
	}
}

// TestGone: the network goes with its process, whatever ends that.
func TestGone(t *testing.T) {
	if why := Cannot(Limit{MbitPerS: 10, RTT: time.Millisecond}); why != nil {
		t.Skip("skipped: ", why)
	}
	for _, how := range []string{"kill 0s", "kill 5ms", "panic 0s", "panic 5ms"} {
		t.Run(how, func(t *testing.T) {
			holder := exec.Command(os.Args[0])
			holder.Env = append(os.Environ(), holdVariable+"="+how)
			output, err := holder.StdoutPipe()
			if err == nil {
				err = holder.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			said := make([]byte, 200)
			n, err := output.Read(said)
			name := strings.TrimSpace(string(said[:n]))
			if err != nil || !strings.HasPrefix(name, "sk") {
				t.Fatalf("%q, %v", said[:n], err)
			}
			link := "/sys/class/net/" + name
			if strings.HasPrefix(how, "kill") {
				if _, err := os.Stat(link); err != nil {
					t.Errorf("it has no network: %v", err)
				}
				_ = holder.Process.Kill()
			}
			_ = holder.Wait() // by a signal, or with the panic's code
			for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
				if _, err := os.Stat(link); errors.Is(err, os.ErrNotExist) {
					return
				}
				if time.Now().After(end) {
					t.Fatalf("%s is left", name)
				}
			}
		})
	}
}

// TestFailureIsSaid: what could not be made says why, and leaves nothing.
func TestFailureIsSaid(t *testing.T) {
	if why := Cannot(Limit{}); why != nil {
		t.Skip("skipped: ", why)
	}
	ip, err := exec.LookPath("ip")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if err := Cannot(Limit{}); err == nil || err.Error() != "ip is not installed" {
		t.Errorf("%v", err)
	}
	// A kernel without the discipline, as tc has it.
	if err := errors.Join(os.Symlink(ip, filepath.Join(dir, "ip")),
		os.WriteFile(filepath.Join(dir, "tc"), []byte("#!/bin/sh\necho 'Error: Specified qdisc kind is unknown.'\nexit 2\n"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := Cannot(Limit{MbitPerS: 8}); err == nil || !strings.Contains(err.Error(), "tbf rate 8mbit burst 3028b limit 67108864b: exit status 2: Error: Specified qdisc kind is unknown.") {
		t.Errorf("%v", err)
	}
	nothingLeft(t)
}
