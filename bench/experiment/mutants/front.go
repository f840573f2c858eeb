// Package mutants is the control of the lab: aggregators that misbehave on demand, one kind of lie
// each, and the table of what the lab says to each of them. A lie that the lab does not see stands
// in the table too.
//
// A mutant is a real aggregator behind a proxy. The process that the lab starts, watches and kills
// is the aggregator itself; the proxy has its standard error as its input, and ends with it:
//
//	lab ── HTTP ─▶ proxy (lies) ── HTTP ─▶ aggregator
//	 └── pid, signals, /proc ────────────────┘ └─ stderr ─▶ proxy ─▶ lab
package mutants

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The hidden commands of bench: one becomes a mutant, the other is its proxy.
const (
	Command      = "mutant"
	ProxyCommand = "mutant-proxy"
)

// Become turns this process into the aggregator at path, with a proxy of its own in front that is
// self with ProxyCommand. The file told is made once a lie was told. args are the aggregator's. It
// returns only with an error.
func Become(self, name, told, path string, args []string) error {
	mutant, ok := find(name)
	if !ok {
		return fmt.Errorf("mutants: there is no %q", name)
	}
	inner, listen, data := innerArgs(args)
	reader, writer, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("mutants: %w", err)
	}
	proxy := exec.Command(self, ProxyCommand, name, told, listen, data)
	proxy.Stdin, proxy.Stderr = reader, os.Stderr
	if err := proxy.Start(); err != nil {
		return fmt.Errorf("mutants: %w", err)
	}
	// The kernel keeps the wish to die with the parent for the thread that has it.
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("mutants: %w", err)
	}
	if err := unix.Dup2(int(writer.Fd()), 2); err != nil {
		return fmt.Errorf("mutants: %w", err)
	}
	unix.CloseOnExec(int(writer.Fd()))
	environ := append(os.Environ(), mutant.environ...)
	return fmt.Errorf("mutants: %s: %w", path, syscall.Exec(path, append([]string{path}, inner...), environ))
}

// innerArgs gives the aggregator a port that only its proxy knows.
func innerArgs(args []string) (inner []string, listen, data string) {
	inner = append(inner, args...)
	for i := 0; i+1 < len(inner); i++ {
		switch inner[i] {
		case "-listen":
			listen, inner[i+1] = inner[i+1], "127.0.0.1:0"
		case "-data":
			data = inner[i+1]
		}
	}
	return inner, listen, data
}

// maxLine bounds a line of the aggregator's log.
const maxLine = 1 << 20

// Proxy serves at listen what the aggregator says whose log is read from log, and passes the log on
// to out, until the log ends: then the aggregator has ended too.
func Proxy(name, told, listen, data string, log io.Reader, out io.Writer) error {
	mutant, ok := find(name)
	if !ok {
		return fmt.Errorf("mutants: there is no %q", name)
	}
	var server *http.Server
	life := 1
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		line := lines.Bytes()
		var where struct{ Msg, Addr string }
		if server == nil && json.Unmarshal(line, &where) == nil && where.Msg == "listening" {
			listener, err := net.Listen("tcp", listen)
			if err != nil {
				return fmt.Errorf("mutants: %w", err)
			}
			liar := newLiar(mutant, told, where.Addr, data)
			life, server = liar.life, &http.Server{Handler: liar}
			go server.Serve(listener)
			line = bytes.Replace(line, []byte(where.Addr), []byte(listener.Addr().String()), 1)
		}
		if _, err := fmt.Fprintf(out, "%s\n", line); err != nil {
			return err
		}
	}
	if server != nil {
		server.Close()
	}
	if mutant.ended == nil {
		return lines.Err()
	}
	lied, err := mutant.ended(data, life)
	if lied {
		tell(told)
	}
	return err
}

// script makes a program of a mutant, which the lab can be given as its aggregator.
func script(self, name, told, aggregator string) string {
	quote := func(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
	return fmt.Sprintf("#!/bin/sh\nexec %s %s %s %s %s \"$@\"\n", quote(self), Command, quote(name), quote(told), quote(aggregator))
}
