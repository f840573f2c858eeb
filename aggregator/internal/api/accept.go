package api

import (
	"errors"
	"log/slog"
	"net"
	"syscall"
	"time"
)

// acceptPause is how long a listener waits that cannot accept for want of file descriptors or
// memory. Connections wait meanwhile with the kernel.
const acceptPause = 50 * time.Millisecond

// patientListener goes on where fasthttp would stop serving: when the process or the machine has no
// file descriptor left.
type patientListener struct {
	net.Listener
	log *slog.Logger
}

func (l patientListener) Accept() (net.Conn, error) {
	for waited := false; ; waited = true {
		conn, err := l.Listener.Accept()
		if err == nil || !exhausted(err) {
			return conn, err
		}
		if !waited {
			l.log.Warn("no connection can be accepted", "error", err)
		}
		time.Sleep(acceptPause)
	}
}

// exhausted reports an error that goes away when something is given back.
func exhausted(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
