package runner

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sekali/bench/system/process"
)

// localPortRange is Linux's IP_LOCAL_PORT_RANGE: the ports that the kernel may choose for a socket.
const localPortRange = 51

// TestAddressIsKept: while an aggregator is away, for a fault or before the last look at the disk,
// the kernel gives its port to nobody else.
func TestAddressIsKept(t *testing.T) {
	t.Setenv(serveVariable, "resets")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a, err := startAggregator(ctx, process.Config{Binary: os.Args[0], Data: filepath.Join(t.TempDir(), "data"), Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	address, err := net.ResolveTCPAddr("tcp", a.config.Listen)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.end(ctx, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	only := func(_, _ string, c syscall.RawConn) (err error) {
		failed := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, localPortRange, address.Port<<16|address.Port)
		})
		return errors.Join(failed, err)
	}
	for _, host := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
		taker, err := (&net.ListenConfig{Control: only}).Listen(ctx, "tcp4", host)
		switch {
		case errors.Is(err, unix.ENOPROTOOPT):
			t.Skip("skipped: this kernel cannot be told which ports to choose (Linux 6.3 can)")
		case err == nil:
			t.Errorf("a listener on %s got %s", host, taker.Addr())
			defer taker.Close()
		case !errors.Is(err, syscall.EADDRINUSE):
			t.Error(err)
		}
	}
	if _, err := a.start(ctx); err != nil {
		t.Errorf("it does not come back: %v", err)
	} else if a.process().Addr != a.config.Listen {
		t.Errorf("it comes back at %s", a.process().Addr)
	}
	if p := a.process(); p != nil {
		p.Kill()
		<-p.Exited()
	}
	a.client.CloseIdleConnections()
}
