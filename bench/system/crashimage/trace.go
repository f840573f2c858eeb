// Package crashimage makes the disks that a power cut could leave, from the system calls of a
// recorded run: what was synced is there, and of the rest any part, torn and in any order.
package crashimage

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
)

// Header names a request, by a number that no other has, so that a trace can tell it.
const Header = "X-Request-Id"

const (
	// calls are the system calls that are recorded, those of a publisher's connection included.
	calls = "open,openat,mkdirat,mkdir,unlink,unlinkat,rename,renameat,renameat2,ftruncate,write,pwrite64,read,fsync,fdatasync"
	// longest is how much of what a call reads or writes is recorded.
	longest = 8 << 20
)

// Under is the command under which a program leaves a trace in the file out. It becomes the
// program: with -D strace is a process beside. inject is what it does to syncs, in the terms of its
// -e inject; "": nothing.
func Under(out, inject string) []string {
	command := []string{"strace", "-D", "-f", "-y", "-xx", "-s", strconv.Itoa(longest), "-o", out, "-e", "trace=" + calls}
	if inject != "" {
		command = append(command, "-e", "inject="+inject)
	}
	return command
}

type kind int

const (
	create kind = iota // a file or a folder: its name
	write
	truncate
	rename
	unlink
	syncBegin
	syncEnd
	syncFailed
)

// Op is one step of a run that a disk sees.
type Op struct {
	kind   kind
	path   string
	fd     string // of a write or a sync: the descriptor's number
	to     string // of a rename
	folder bool
	append bool // a write at the file's end
	offset int64
	data   []byte
	begin  int // of a sync: the Op with which it began
}

// Trace is a run, or several on one folder, one behind the other.
type Trace struct {
	Root     string // the data folder
	Ops      []Op
	asked    map[int]int       // by request: the Op before which it had been read
	answered map[int]int       // by request: the Op before which its answer was on its way
	waiting  map[string]string // by thread: a call that has begun
	syncing  map[string]int
	asks     map[string]int // by connection: the request on it
}

// NewTrace returns an empty trace of the folder root.
func NewTrace(root string) *Trace {
	return &Trace{Root: root, asked: map[int]int{}, answered: map[int]int{}}
}

// Read appends what strace has written of one process, from its beginning to its end.
func (t *Trace) Read(r io.Reader) error {
	t.waiting, t.syncing, t.asks = map[string]string{}, map[string]int{}, map[string]int{}
	lines, last := bufio.NewReaderSize(r, 1<<20), ""
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF && strings.HasPrefix(last, "+++ ") {
			return nil
		}
		if err == io.EOF {
			return fmt.Errorf("crashimage: the trace ends before the process: %.200s", last)
		}
		if err != nil {
			return fmt.Errorf("crashimage: %w", err)
		}
		thread, call, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		last = strings.TrimLeft(call, " ")
		if err := t.line(thread, last); err != nil {
			return fmt.Errorf("crashimage: %w: %.200s", err, line)
		}
	}
}

// Reached says how far a request had come when the power was cut before the Op number cut.
func (t *Trace) Reached(request, cut int) (asked, answered bool) {
	at, ok := t.asked[request]
	asked = ok && at <= cut
	at, ok = t.answered[request]
	return asked, ok && at <= cut
}

// FailedSyncs is how many syncs did not succeed.
func (t *Trace) FailedSyncs() (n int) {
	for _, op := range t.Ops {
		if op.kind == syncFailed {
			n++
		}
	}
	return n
}

func (t *Trace) line(thread, call string) error {
	if begun, ok := strings.CutSuffix(call, " <unfinished ...>"); ok {
		t.waiting[thread] = begun
		return t.begun(thread, begun)
	}
	if strings.HasPrefix(call, "<... ") {
		_, rest, _ := strings.Cut(call, " resumed>")
		call = t.waiting[thread] + rest
		delete(t.waiting, thread)
		return t.ended(thread, call) // its result is aligned with spaces
	}
	if strings.HasPrefix(call, "---") || strings.HasPrefix(call, "+++") {
		return nil
	}
	if err := t.begun(thread, call); err != nil {
		return err
	}
	return t.ended(thread, call)
}

// begun takes what counts from a call's beginning: a write may reach the disk at once, a sync
// covers what was written before it.
func (t *Trace) begun(thread, call string) error {
	name, args, _ := strings.Cut(call, "(")
	switch name {
	case "fsync", "fdatasync":
		t.syncing[thread] = len(t.Ops)
		t.add(Op{kind: syncBegin, path: descriptor(args), fd: number(args)})
	case "write", "pwrite64":
		path := descriptor(args)
		text, rest := quoted(args)
		data, err := unhex(text)
		if err != nil {
			return err
		}
		if request, ok := t.asks[path]; ok && bytes.HasPrefix(data, []byte("HTTP/1.1 ")) {
			t.answered[request] = len(t.Ops)
			return nil
		}
		op := Op{kind: write, path: path, fd: number(args), data: data, append: name == "write"}
		if !op.append {
			numbers := strings.Split(strings.TrimLeft(rest, "., "), ",")
			if len(numbers) < 2 {
				return fmt.Errorf("a write without its place")
			}
			end, _, _ := strings.Cut(strings.TrimSpace(numbers[1]), ")")
			if op.offset, err = strconv.ParseInt(end, 10, 64); err != nil {
				return err
			}
		}
		t.add(op)
	}
	return nil
}

// ended takes what counts once a call has succeeded.
func (t *Trace) ended(thread, call string) error {
	name, args, _ := strings.Cut(call, "(")
	i := strings.LastIndex(call, " = ")
	if i < 0 || !strings.HasSuffix(strings.TrimRight(call[:i], " "), ")") || strings.HasPrefix(call[i+3:], "?") {
		return nil // the process died in it
	}
	failed := strings.HasPrefix(call[i+3:], "-1")
	if name == "fsync" || name == "fdatasync" {
		op := Op{kind: syncEnd, path: descriptor(args), fd: number(args), begin: t.syncing[thread]}
		if failed {
			op.kind = syncFailed
		}
		t.add(op)
		return nil
	}
	if failed {
		return nil
	}
	switch name {
	case "read":
		t.ask(args)
	case "open", "openat":
		if path := paths(args)[0]; strings.Contains(args, "O_CREAT") {
			t.add(Op{kind: create, path: path})
			if strings.Contains(args, "O_TRUNC") {
				t.add(Op{kind: truncate, path: path})
			}
		}
	case "mkdir", "mkdirat":
		t.add(Op{kind: create, path: paths(args)[0], folder: true})
	case "unlink", "unlinkat":
		t.add(Op{kind: unlink, path: paths(args)[0]})
	case "rename", "renameat", "renameat2":
		p := paths(args)
		t.add(Op{kind: rename, path: p[0], to: p[1]})
	case "ftruncate":
		_, size, _ := strings.Cut(args[:strings.LastIndex(args, ")")], ">, ")
		n, err := strconv.ParseInt(size, 10, 64)
		if err != nil {
			return err
		}
		t.add(Op{kind: truncate, path: descriptor(args), offset: n})
	}
	return nil
}

// add keeps an Op of the folder. SQLite's -shm is memory, and made anew.
func (t *Trace) add(op Op) {
	inside := op.path == t.Root || strings.HasPrefix(op.path, t.Root+"/")
	if inside && !strings.HasSuffix(op.path, "-shm") {
		t.Ops = append(t.Ops, op)
	}
}

// ask notes which request comes on a connection.
func (t *Trace) ask(args string) {
	path := descriptor(args)
	if !strings.HasPrefix(path, "socket:") {
		return
	}
	text, _ := quoted(args)
	data, err := unhex(text)
	_, name, found := bytes.Cut(data, []byte("\r\n"+Header+": "))
	if err != nil || !found {
		return
	}
	number, _, _ := bytes.Cut(name, []byte("\r"))
	if n, err := strconv.Atoi(string(number)); err == nil {
		t.asks[path], t.asked[n] = n, len(t.Ops)
	}
}

// descriptor is the path of the file that the first argument is open on.
func descriptor(args string) string {
	_, rest, _ := strings.Cut(args, "<")
	text, _, _ := strings.Cut(rest, ">")
	path, err := unhex(text)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(path), " (deleted)")
}

// number is that of the descriptor that is the first argument.
func number(args string) string {
	n, _, _ := strings.Cut(args, "<")
	return n
}

// paths are the quoted arguments.
func paths(args string) []string {
	all := []string{"", ""}
	for i := range all {
		var text string
		text, args = quoted(args)
		if path, err := unhex(text); err == nil && text != "" {
			all[i] = filepath.Clean(string(path))
		}
	}
	return all
}

func quoted(args string) (text, rest string) {
	_, rest, _ = strings.Cut(args, `"`)
	text, rest, _ = strings.Cut(rest, `"`)
	return text, rest
}

// unhex decodes a text all of whose bytes are written as \x and two digits.
func unhex(text string) ([]byte, error) { return hex.DecodeString(strings.ReplaceAll(text, `\x`, "")) }
