package wire

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// tunnel is the kernel's device for interfaces whose packets a program carries.
	tunnel = "/dev/net/tun"
	// packetBytes is the longest that an interface sends: many packets of one connection in one, which
	// the kernel would cut for a wire of copper, and a header that says so (struct virtio_net_hdr).
	packetBytes = 10 + 1<<16
	offloads    = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6
	// queuePackets may wait at an interface until they are carried.
	queuePackets = 10_000
	// delayedBytes may be on their way at a time, in each direction. TCP keeps far less there.
	delayedBytes = 64 << 20
	// mostPackets are taken before those that are due are let through.
	mostPackets = 64
	// lateTries are waits of lateWait each, of which the median says how late a thread wakes up.
	lateTries = 21
	lateWait  = 100 * time.Microsecond
	// carrierNice puts a carrier before all that compute: a late packet would be the lab's delay, not
	// the network's.
	carrierNice = -20
)

// packet is on its way until it is due.
type packet struct {
	due  time.Time
	data []byte
}

// carrier takes what one interface sends, and hands it to the other a while later, in the same
// order. It owns neither.
type carrier struct {
	from, to int // non-blocking
	stop     int // becomes readable at the end
	delay    time.Duration
	late     time.Duration // how much later than it is to the thread wakes up

	queue  []packet
	bytes  int // in queue
	buffer [packetBytes]byte
}

// run ends when stop becomes readable, or with the error of an interface.
func (c *carrier) run() error {
	for {
		timeout := c.letThrough(time.Now())
		polled := []unix.PollFd{{Fd: int32(c.stop), Events: unix.POLLIN}, {Fd: int32(c.from), Events: unix.POLLIN}}
		if c.bytes > delayedBytes-mostPackets*packetBytes {
			polled = polled[:1] // the interface keeps the rest, and drops it once queuePackets wait
		}
		if _, err := unix.Ppoll(polled, timeout, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("ppoll", err)
		}
		if polled[0].Revents != 0 {
			return nil
		}
		if len(polled) > 1 && polled[1].Revents != 0 {
			if err := c.take(time.Now()); err != nil {
				return err
			}
		}
	}
}

// take takes what the interface has sent by now.
func (c *carrier) take(now time.Time) error {
	for range mostPackets {
		n, err := unix.Read(c.from, c.buffer[:])
		switch {
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
			return nil
		case err != nil:
			return os.NewSyscallError("read", err)
		}
		// It woke up late for this one too.
		c.queue, c.bytes = append(c.queue, packet{now.Add(c.delay - c.late), bytes.Clone(c.buffer[:n])}), c.bytes+n
	}
	return nil
}

// letThrough hands over what is due, and says how long it is until the next; nil: there is none.
func (c *carrier) letThrough(now time.Time) *unix.Timespec {
	due := 0
	for ; due < len(c.queue) && !c.queue[due].due.After(now); due++ {
		data := c.queue[due].data
		// What an interface refuses is lost, as a packet may be: TCP sends it again.
		_, _ = unix.Write(c.to, data)
		c.bytes -= len(data)
	}
	c.queue = slices.Delete(c.queue, 0, due)
	if len(c.queue) == 0 {
		return nil
	}
	// Who is not late this time looks again until it is due.
	timeout := unix.NsecToTimespec(max(0, (time.Until(c.queue[0].due) - c.late).Nanoseconds()))
	return &timeout
}

// lateness is how much later than it is to this thread wakes up.
func lateness() time.Duration {
	var late [lateTries]time.Duration
	for i := range late {
		began, wait := time.Now(), unix.NsecToTimespec(lateWait.Nanoseconds())
		_, _ = unix.Ppoll(nil, &wait, nil) // a signal ends it early, which the median bears
		late[i] = max(0, time.Since(began)-lateWait)
	}
	slices.Sort(late[:])
	return late[lateTries/2]
}

// carry starts a carrier each way. The function that it returns stops them, and says what went
// wrong.
func carry(ends [2]int, delay time.Duration) (stop func() error, err error) {
	done, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	var running sync.WaitGroup
	var failed [2]error
	for i := range ends {
		c := &carrier{from: ends[i], to: ends[1-i], stop: done, delay: delay}
		running.Go(func() {
			// The thread has no other goroutine, and ends with this one.
			runtime.LockOSThread()
			_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), carrierNice)
			_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // a nanosecond; else it wakes 50 µs late
			c.late = min(lateness(), delay)
			failed[i] = c.run()
		})
	}
	return func() error {
		_, err := unix.Write(done, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		running.Wait()
		return errors.Join(err, failed[0], failed[1], unix.Close(done))
	}, nil
}

// openTunnel makes an interface in the namespace of the thread. It is there until it is closed.
func openTunnel(name string) (int, error) {
	fd, err := unix.Open(tunnel, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: tunnel, Err: err}
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err == nil {
		err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloads)
	}
	if err != nil {
		return -1, errors.Join(fmt.Errorf("%s: interface %s: %w", tunnel, name, err), unix.Close(fd))
	}
	return fd, nil
}
