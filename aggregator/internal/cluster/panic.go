package cluster

import (
	"bytes"
	"fmt"
	"runtime/debug"
)

// Panic is what a message of the log has made the program panic with. In the log it would end every
// node, and each of its starts again, so a node halts at it instead.
type Panic struct {
	Value any
	Stack []byte
}

func (p *Panic) Error() string { return fmt.Sprintf("it makes this program panic: %v", p.Value) }

// belowSQLite is in the stack of a panic within SQLite, or in the C library that it has for itself.
var belowSQLite = []byte("modernc.org/")

// Guard calls do, and returns a panic as an error. Memory that is exhausted ends the process, as
// always: nobody can recover from that. So does a panic within SQLite, which says nothing of the
// message and leaves nobody knows what behind.
func Guard(do func() error) (err error) {
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		stack := debug.Stack()
		if bytes.Contains(stack, belowSQLite) {
			panic(value)
		}
		err = &Panic{value, stack}
	}()
	return do()
}

// decode is Decode of what others have written.
func decode(message []byte) (f Frame, rest []byte, err error) {
	err = Guard(func() error {
		f, rest, err = Decode(message)
		return err
	})
	return f, rest, err
}
