// Package systemd tells a supervisor how a program stands.
package systemd

import (
	"net"
	"os"
	"strings"
)

// Notify tells systemd (Type=notify) how it stands: READY=1, STOPPING=1. Started by something else,
// it does nothing.
func Notify(state string) error {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	if rest, ok := strings.CutPrefix(name, "@"); ok { // of Linux's own namespace
		name = "\x00" + rest
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte(state))
	return err
}
