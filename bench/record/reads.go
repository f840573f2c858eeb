package record

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
)

// Readers are those that read beside the load, from the first measured phase to the load's end.
type Readers struct {
	Kind    string  `json:"kind"`                 // topic, seq or time: pages of that; stream
	Rate    float64 `json:"rate_per_s,omitempty"` // pages a second, open loop
	Limit   int     `json:"limit,omitempty"`      // events of a page
	Clients int     `json:"clients,omitempty"`    // streams, each of one topic
}

// Read is one row of reads.csv.gz: a page, or an event that a stream brought, or a stream that
// ended early. Times are since the attack's start.
type Read struct {
	Kind   string
	DueNS  int64 // of a page; of a stream's event when the aggregator received it
	DoneNS int64 // it was read whole
	Status int   // of the answer; 0: none, or it broke off
	Events int
}

var readColumns = []string{"kind", "due_ns", "done_ns", "status", "events"}

// WriteReads writes them as gzipped CSV with a header line.
func WriteReads(w io.Writer, reads []Read) error {
	zip := gzip.NewWriter(w)
	rows := csv.NewWriter(zip)
	err := rows.Write(readColumns)
	for _, r := range reads {
		err = errors.Join(err, rows.Write([]string{r.Kind, strconv.FormatInt(r.DueNS, 10), strconv.FormatInt(r.DoneNS, 10), strconv.Itoa(r.Status), strconv.Itoa(r.Events)}))
	}
	rows.Flush()
	if err := errors.Join(err, rows.Error(), zip.Close()); err != nil {
		return fmt.Errorf("reads: %w", err)
	}
	return nil
}

// ReadReads yields what WriteReads wrote. It stops at the first error, which it yields.
func ReadReads(r io.Reader) iter.Seq2[Read, error] {
	return func(yield func(Read, error) bool) {
		fail := func(err error) { yield(Read{}, fmt.Errorf("reads: %w", err)) }
		zip, err := gzip.NewReader(bufio.NewReader(r))
		if err != nil {
			fail(err)
			return
		}
		rows := csv.NewReader(zip)
		rows.FieldsPerRecord = len(readColumns)
		if header, err := rows.Read(); err != nil || !slices.Equal(header, readColumns) {
			fail(errors.Join(err, fmt.Errorf("columns are %q", header)))
			return
		}
		for {
			row, err := rows.Read()
			if err == io.EOF {
				return
			}
			var read Read
			if err == nil {
				read, err = parseRead(row)
			}
			if err != nil {
				fail(err)
				return
			}
			if !yield(read, nil) {
				return
			}
		}
	}
}

func parseRead(row []string) (Read, error) {
	read := Read{Kind: row[0]}
	var errs [4]error
	read.DueNS, errs[0] = strconv.ParseInt(row[1], 10, 64)
	read.DoneNS, errs[1] = strconv.ParseInt(row[2], 10, 64)
	read.Status, errs[2] = strconv.Atoi(row[3])
	read.Events, errs[3] = strconv.Atoi(row[4])
	return read, errors.Join(errs[:]...)
}
