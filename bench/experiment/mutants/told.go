package mutants

import (
	"bytes"
	"fmt"
	"os"
)

// tell notes that a lie was told: what the proxy gave was not what it had. A mutant that never
// lied proves nothing of the lab. The note is a file, for the lab is another process.
func (l *liar) tell() {
	l.telling.Do(func() { tell(l.told) })
}

func tell(note string) {
	if err := os.WriteFile(note, nil, 0o600); err != nil {
		fmt.Fprintf(os.Stderr, "mutants: what was told is not noted: %v\n", err)
	}
}

// change hands an event to hook, which may change it or take it out.
func (l *liar) change(e *event, hook func(*liar, *event) bool) (keep bool) {
	honest := e.append(nil)
	keep = hook(l, e)
	if !keep || !bytes.Equal(honest, e.append(nil)) {
		l.tell()
	}
	return keep
}
