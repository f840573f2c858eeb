package ports

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// localPortRange is Linux's IP_LOCAL_PORT_RANGE: the ports that the kernel may choose for a socket.
const localPortRange = 51

// TestHeld: the server that names an address has it in every life. Between its lives the kernel
// gives it neither to a listener nor to a connection, and after Release it does.
func TestHeld(t *testing.T) {
	held, err := Hold(3)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	given := map[string]bool{}
	for _, address := range held.Addresses {
		given[address] = true
		for range 3 {
			server, err := net.Listen("tcp", address)
			if err != nil {
				t.Fatalf("the server does not get its address: %v", err)
			}
			server.Close()
			if err := listenWithin(t, address); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("a listener on port 0 got %s: %v", address, err)
			}
			if err := dialWithin(t, address, target.Addr().String()); !errors.Is(err, syscall.EADDRNOTAVAIL) {
				t.Errorf("a connection got %s: %v", address, err)
			}
		}
	}
	if len(given) != 3 {
		t.Errorf("%v are not three", held.Addresses)
	}
	held.Release()
	if err := listenWithin(t, held.Addresses[0]); err != nil {
		t.Errorf("released: %v", err)
	}
	if err := dialWithin(t, held.Addresses[1], target.Addr().String()); err != nil {
		t.Errorf("released: %v", err)
	}
}

// TestHoldOn: what is no IPv4 address of this machine is an error, and not another address.
func TestHoldOn(t *testing.T) {
	for host, works := range map[string]bool{"127.0.0.2": true, "": false, "localhost": false, "::1": false, "192.0.2.1": false} {
		held, err := HoldOn(host, 1)
		if (err == nil) != works {
			t.Errorf("%q: %v", host, err)
		}
		if err != nil {
			continue
		}
		if !strings.HasPrefix(held.Addresses[0], host+":") {
			t.Errorf("%q: %v", host, held.Addresses)
		}
		held.Release()
	}
}

// only lets the kernel choose the port of an address, and no other.
func only(t *testing.T, address string) func(_, _ string, c syscall.RawConn) error {
	t.Helper()
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return func(_, _ string, c syscall.RawConn) error {
		var failure error
		err := c.Control(func(fd uintptr) {
			failure = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, localPortRange, port<<16|port)
		})
		if errors.Is(failure, unix.ENOPROTOOPT) {
			t.Skip("skipped: this kernel cannot be told which ports to choose (Linux 6.3 can)")
		}
		return errors.Join(err, failure)
	}
}

func listenWithin(t *testing.T, address string) error {
	t.Helper()
	l, err := (&net.ListenConfig{Control: only(t, address)}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err == nil {
		l.Close()
	}
	return err
}

func dialWithin(t *testing.T, address, target string) error {
	t.Helper()
	conn, err := (&net.Dialer{Control: only(t, address)}).DialContext(context.Background(), "tcp4", target)
	if err == nil {
		conn.Close()
	}
	return err
}
