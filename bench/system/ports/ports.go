// Package ports keeps addresses of the loopback for servers that are ended and started again.
package ports

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Held are addresses that the kernel gives to nobody by itself, neither to a listener on port 0 nor
// to a connection, not even while the server that has one is away. A server that names it gets it,
// if it sets SO_REUSEADDR, as every server of Go does.
type Held struct {
	Addresses []string // each another one
	sockets   []int
}

// Hold takes n addresses of 127.0.0.1, until Release.
func Hold(n int) (*Held, error) { return HoldOn("127.0.0.1", n) }

// HoldOn takes those of an IPv4 address of this machine.
func HoldOn(host string, n int) (*Held, error) {
	ip, err := netip.ParseAddr(host)
	if err != nil || !ip.Is4() {
		return nil, fmt.Errorf("ports: %q is no IPv4 address", host)
	}
	h := &Held{}
	for range n {
		if err := h.add(ip); err != nil {
			h.Release()
			return nil, fmt.Errorf("ports: %w", err)
		}
	}
	return h, nil
}

// add binds a socket that never listens. It keeps the port from all who do not name it.
func (h *Held) add(ip netip.Addr) error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	h.sockets = append(h.sockets, socket)
	if err := unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err := unix.Bind(socket, &unix.SockaddrInet4{Addr: ip.As4()}); err != nil {
		return err
	}
	name, err := unix.Getsockname(socket)
	if err != nil {
		return err
	}
	address, ok := name.(*unix.SockaddrInet4)
	if !ok {
		return errors.New("a socket's name is no address")
	}
	h.Addresses = append(h.Addresses, fmt.Sprintf("%s:%d", ip, address.Port))
	return nil
}

// Release gives the addresses back. It may be called again.
func (h *Held) Release() {
	for _, socket := range h.sockets {
		_ = unix.Close(socket) // nothing was written
	}
	h.sockets = nil
}
