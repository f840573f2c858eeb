package ledger

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"
	"strings"
)

// maxRowBytes bounds a row: 11 numbers of at most 20 digits, and a cause.
const maxRowBytes = 4 << 10

// Read yields the attempts of a file that a Writer made, in its order. It ends
// with the first error, which names the line; a cut file is an error.
func Read(r io.Reader) iter.Seq2[Attempt, error] {
	return func(yield func(Attempt, error) bool) {
		unzipped, err := gzip.NewReader(r)
		if err != nil {
			yield(Attempt{}, fmt.Errorf("ledger: %w", err))
			return
		}
		lines := bufio.NewScanner(unzipped)
		lines.Buffer(make([]byte, maxRowBytes), maxRowBytes)
		line := 1
		if found := lines.Scan(); lines.Err() == nil && (!found || lines.Text()+"\n" != header) {
			yield(Attempt{}, fmt.Errorf("ledger: line 1: %.80q is not the header of a ledger", lines.Text()))
			return
		}
		for lines.Scan() {
			line++
			a, err := parseRow(lines.Text())
			if err != nil {
				yield(Attempt{}, fmt.Errorf("ledger: line %d: %w", line, err))
				return
			}
			if !yield(a, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(Attempt{}, fmt.Errorf("ledger: after line %d: %w", line, err))
		}
	}
}

// ReadFile is Read of a file, which is opened anew for each pass.
func ReadFile(path string) iter.Seq2[Attempt, error] {
	return func(yield func(Attempt, error) bool) {
		file, err := os.Open(path)
		if err != nil {
			yield(Attempt{}, fmt.Errorf("ledger: %w", err))
			return
		}
		defer file.Close()
		Read(file)(yield)
	}
}

func parseRow(row string) (Attempt, error) {
	var a Attempt
	columns := strings.Split(row, ",")
	if want := strings.Count(header, ",") + 1; len(columns) != want {
		return a, fmt.Errorf("%d columns, want %d", len(columns), want)
	}
	var firstErr error
	number := func(column int) int64 {
		v, err := strconv.ParseInt(columns[column], 10, 64)
		if err != nil && firstErr == nil {
			firstErr = err
		}
		return v
	}
	request, err := strconv.ParseUint(columns[0], 10, 64)
	if err != nil {
		return a, err
	}
	a = Attempt{
		Request: request, Attempt: int(number(1)), Phase: int(number(2)),
		PlannedNS: number(3), SentNS: number(4), DoneNS: number(5),
		Status: int(number(6)), Cause: columns[7],
		Accepted: int(number(8)), Rejected: int(number(9)), Duplicates: int(number(10)), Bytes: int(number(11)),
	}
	return a, firstErr
}
