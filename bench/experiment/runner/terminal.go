package runner

import (
	"io"
	"os"

	"golang.org/x/term"
)

// isTerminal says whether w is one that understands escapes.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(file.Fd()))
}

// wantsColour heeds NO_COLOR (no-color.org), set to anything.
func wantsColour(w io.Writer) bool {
	return os.Getenv("NO_COLOR") == "" && isTerminal(w)
}

// columnsOf is the width of the terminal w, 0 where it does not say.
func columnsOf(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return width
}
