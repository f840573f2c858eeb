// Package wire makes a network between publishers and the aggregator: two virtual interfaces, one
// here and one in a namespace of its own. The kernel slows what each sends (tbf); this process
// delays it, for few kernels can (netem). The aggregator listens on the end here. Publishers'
// sockets are made in the namespace, by the process that always sends the load; whatever else asks
// the aggregator does so over the loopback.
package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// queueBytes may wait at an end that has a rate, before any are dropped. TCP keeps far less there:
	// nothing is lost.
	queueBytes = 64 << 20
	// Such an end lets through at once what it has saved up in a millisecond, which is several times
	// as long as a timer of the kernel comes late, and two packets at least. With a quarter of that a
	// virtual machine let 80 of 100 Mbit/s through.
	burstsPerS = 1000
	leastBurst = 2 * 1514
	// dialTimeout bounds the opening of a connection.
	dialTimeout = 5 * time.Second
	// ownSpace is the namespace of the thread that asks.
	ownSpace = "/proc/thread-self/ns/net"
)

// Limit is what each way does to what is sent.
type Limit struct {
	RTT      time.Duration // there and back, half of it each way; 0: no delay
	MbitPerS int           // each way, of 10⁶ bits; 0: no limit
}

// Wire is a network. Close takes it away, and so does the end of this process, whatever ended it:
// the namespace has no name, is there as long as somebody holds it, and takes both interfaces with
// it.
type Wire struct {
	limit      Limit
	name       string // of the interface here; the one in the namespace is "wire"
	host, peer string // addresses of this end and of the other
	space      *os.File

	// Of a network with a delay: both interfaces, and what ends their carriers.
	tunnels []int
	stop    func() error
}

// made counts the networks of this process, each of which has a name and addresses of its own.
var made atomic.Int64

// Open makes a network. The error says why there can be none here.
func Open(limit Limit) (*Wire, error) {
	for _, program := range []string{"ip", "tc"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("%s is not installed", program)
		}
	}
	n := made.Add(1)
	subnet, first := fmt.Sprintf("10.215.%d.", os.Getpid()%250), n%63*4 // of four addresses
	// Names of interfaces have at most 15 characters.
	w := &Wire{limit: limit, name: fmt.Sprintf("sk%dw%d", os.Getpid(), n%100_000), host: fmt.Sprint(subnet, first+1), peer: fmt.Sprint(subnet, first+2)}
	if err := apart(w.makeSpace); err != nil {
		return nil, fmt.Errorf("no network namespace can be made: %w", err)
	}
	link := w.plug
	if limit.RTT > 0 {
		link = w.tunnel
	}
	err := link()
	if err == nil {
		err = w.end(w.name, w.host)
	}
	if err == nil {
		err = w.within(func() error { return w.end("wire", w.peer) })
	}
	if err == nil && limit.RTT > 0 {
		w.stop, err = carry([2]int(w.tunnels), limit.RTT/2)
	}
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// plug makes both interfaces, of which the kernel hands what one sends to the other.
func (w *Wire) plug() error {
	return run(fmt.Sprintf("ip link add %s type veth peer name wire netns /proc/%d/fd/%d", w.name, os.Getpid(), w.space.Fd()))
}

// tunnel makes both interfaces, for carriers.
func (w *Wire) tunnel() error {
	open := func(name string) error {
		end, err := openTunnel(name)
		if err == nil {
			w.tunnels = append(w.tunnels, end)
		}
		return err
	}
	if err := open(w.name); err != nil {
		return err
	}
	return w.within(func() error { return open("wire") })
}

// Cannot says why no such network can be made here and used; nil: it can.
func Cannot(limit Limit) error {
	w, err := Open(limit)
	if err != nil {
		return err
	}
	_, err = w.roundTrip(context.Background())
	return errors.Join(err, w.Close())
}

// makeSpace takes the thread into a new namespace.
func (w *Wire) makeSpace() (err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	w.space, err = os.Open(ownSpace)
	return err
}

// end sets an interface up, in the namespace that it is in.
func (w *Wire) end(name, address string) error {
	up := []string{"ip addr add " + address + "/30 dev " + name, "ip link set " + name + " up"}
	if w.limit.RTT > 0 {
		up[1] += fmt.Sprint(" txqueuelen ", queuePackets)
	}
	if mbit := w.limit.MbitPerS; mbit > 0 {
		// No packet is longer than what passes at once: tbf would cut it up for good.
		burst := max(leastBurst, mbit*1e6/8/burstsPerS)
		up = append(up, fmt.Sprintf("ip link set %s gso_max_size %d", name, min(burst, 1<<16)),
			fmt.Sprintf("tc qdisc add dev %s root tbf rate %dmbit burst %db limit %db", name, mbit, burst, queueBytes))
	}
	for _, command := range up {
		if err := run(command); err != nil {
			return err
		}
	}
	return nil
}

// Host is the address of this end.
func (w *Wire) Host() string { return w.host }

// Dial connects from the other end.
func (w *Wire) Dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = w.within(func() (err error) {
		conn, err = (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// within does something on a thread that is in the namespace: the sockets and the processes that it
// makes are there.
func (w *Wire) within(do func() error) error {
	return apart(func() error {
		if err := unix.Setns(int(w.space.Fd()), unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("setns", err)
		}
		return do()
	})
}

// apart does something that may take its thread into another namespace. No other goroutine runs on
// that thread before it is back.
func apart(do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open(ownSpace)
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		defer home.Close()
		err = do()
		// A thread that does not get back ends with this goroutine.
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

func run(line string) error {
	words := strings.Fields(line)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", line, err, strings.Join(strings.Fields(string(out)), " "))
	}
	return nil
}

// Close takes both interfaces away, and the namespace once the last socket in it has gone.
func (w *Wire) Close() (err error) {
	if w.stop != nil {
		err = w.stop()
	}
	for _, end := range w.tunnels {
		err = errors.Join(err, unix.Close(end))
	}
	if _, missing := os.Stat("/sys/class/net/" + w.name); missing == nil {
		err = errors.Join(err, run("ip link del "+w.name))
	}
	return errors.Join(err, w.space.Close())
}
