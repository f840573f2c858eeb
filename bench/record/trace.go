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

// Sample is one row of the trace: one /stats answer, with what /proc says of the two processes at
// that moment. Counters are the aggregator's: events unless named otherwise. Those it counts from
// its own start (journal_syncs, journal_bytes, allocated_bytes) fall back to zero at a
// restart; the process figures (server_*) go on across a restart, since the sampler adds what an
// ended process had used.
type Sample struct {
	TNS        int64 // when /stats was asked, since the attack's start; negative before it
	AnsweredNS int64 // when it had answered; 0: it did not, and the counters are 0
	Phase      int   // index into run.json's phases; -1 outside of them
	Ready      bool

	Received         uint64
	UniqueProcessed  uint64
	DuplicateDropped uint64
	Rejected         uint64
	QueueDepth       uint64
	QueueBytes       int64
	BacklogBytes     int64
	Commits          uint64
	JournalSyncs     uint64
	JournalBytes     int64
	AllocatedBytes   int64

	ServerCPUNS      int64 // user and system; 0 throughout where the process is not ours
	ServerRSSBytes   int64
	ServerWriteBytes int64 // handed to the block layer
	GeneratorCPUNS   int64
	MachineCPUNS     int64 // all processes on the cores that are watched, and what a hypervisor took; 0 throughout where it is not known

	GeneratorAllocatedBytes int64 // 0 throughout in a trace of earlier runs, like the next
	GeneratorWriteBytes     int64 // handed to the block layer

	Failed uint64 // dead letters; 0 throughout in a trace of earlier runs

	// How often and for how long a CPU quota has held back the groups of the lab and the aggregator,
	// and for how long the generator has not run; 0 throughout in a trace of earlier runs.
	ThrottledPeriods int64
	ThrottledNS      int64
	StalledNS        int64
}

// Answered says that the sample holds counters.
func (s Sample) Answered() bool { return s.AnsweredNS != 0 }

// Committed is the number of events that left the queue through a commit, dead letters among them.
func (s Sample) Committed() uint64 { return s.UniqueProcessed + s.DuplicateDropped + s.Failed }

// column is one column of the trace, as the name in the header and the two ways through it.
type column struct {
	name string
	text func(*Sample) string
	set  func(*Sample, string) error
}

func signed[T int | int64](name string, field func(*Sample) *T) column {
	return column{name,
		func(s *Sample) string { return strconv.FormatInt(int64(*field(s)), 10) },
		func(s *Sample, text string) error {
			n, err := strconv.ParseInt(text, 10, 64)
			*field(s) = T(n)
			return err
		}}
}

func counter(name string, field func(*Sample) *uint64) column {
	return column{name,
		func(s *Sample) string { return strconv.FormatUint(*field(s), 10) },
		func(s *Sample, text string) (err error) {
			*field(s), err = strconv.ParseUint(text, 10, 64)
			return err
		}}
}

func flag(name string, field func(*Sample) *bool) column {
	return column{name,
		func(s *Sample) string { return strconv.FormatBool(*field(s)) },
		func(s *Sample, text string) (err error) {
			*field(s), err = strconv.ParseBool(text)
			return err
		}}
}

var columns = []column{
	signed("t_ns", func(s *Sample) *int64 { return &s.TNS }),
	signed("answered_ns", func(s *Sample) *int64 { return &s.AnsweredNS }),
	signed("phase", func(s *Sample) *int { return &s.Phase }),
	flag("ready", func(s *Sample) *bool { return &s.Ready }),
	counter("received", func(s *Sample) *uint64 { return &s.Received }),
	counter("unique_processed", func(s *Sample) *uint64 { return &s.UniqueProcessed }),
	counter("duplicate_dropped", func(s *Sample) *uint64 { return &s.DuplicateDropped }),
	counter("rejected", func(s *Sample) *uint64 { return &s.Rejected }),
	counter("queue_depth", func(s *Sample) *uint64 { return &s.QueueDepth }),
	signed("queue_bytes", func(s *Sample) *int64 { return &s.QueueBytes }),
	signed("backlog_bytes", func(s *Sample) *int64 { return &s.BacklogBytes }),
	counter("commits", func(s *Sample) *uint64 { return &s.Commits }),
	counter("journal_syncs", func(s *Sample) *uint64 { return &s.JournalSyncs }),
	signed("journal_bytes", func(s *Sample) *int64 { return &s.JournalBytes }),
	signed("allocated_bytes", func(s *Sample) *int64 { return &s.AllocatedBytes }),
	signed("server_cpu_ns", func(s *Sample) *int64 { return &s.ServerCPUNS }),
	signed("server_rss_bytes", func(s *Sample) *int64 { return &s.ServerRSSBytes }),
	signed("server_write_bytes", func(s *Sample) *int64 { return &s.ServerWriteBytes }),
	signed("generator_cpu_ns", func(s *Sample) *int64 { return &s.GeneratorCPUNS }),
	signed("machine_cpu_ns", func(s *Sample) *int64 { return &s.MachineCPUNS }),
	signed("generator_allocated_bytes", func(s *Sample) *int64 { return &s.GeneratorAllocatedBytes }),
	signed("generator_write_bytes", func(s *Sample) *int64 { return &s.GeneratorWriteBytes }),
	counter("failed", func(s *Sample) *uint64 { return &s.Failed }),
	signed("throttled_periods", func(s *Sample) *int64 { return &s.ThrottledPeriods }),
	signed("throttled_ns", func(s *Sample) *int64 { return &s.ThrottledNS }),
	signed("stalled_ns", func(s *Sample) *int64 { return &s.StalledNS }),
}

// earlierColumns is how many columns a trace may have that was made before the last ones were
// measured.
var earlierColumns = []int{len(columns) - 7, len(columns) - 6, len(columns) - 4, len(columns) - 3}

// TraceWriter writes samples as gzipped CSV with a header line. Not for concurrent use.
type TraceWriter struct {
	zip *gzip.Writer
	csv *csv.Writer
	row []string
}

// NewTraceWriter begins a trace; the caller closes w after Close.
func NewTraceWriter(w io.Writer) *TraceWriter {
	zip := gzip.NewWriter(w)
	t := &TraceWriter{zip: zip, csv: csv.NewWriter(zip), row: make([]string, len(columns))}
	for i, c := range columns {
		t.row[i] = c.name
	}
	// An error of the writer below stays in it, and Close reports it.
	_ = t.csv.Write(t.row)
	return t
}

// Write appends one row. Samples come in the order of t_ns.
func (t *TraceWriter) Write(s Sample) error {
	for i, c := range columns {
		t.row[i] = c.text(&s)
	}
	if err := t.csv.Write(t.row); err != nil {
		return fmt.Errorf("trace: write: %w", err)
	}
	return nil
}

// Close flushes; without it the file is cut short.
func (t *TraceWriter) Close() error {
	t.csv.Flush()
	if err := errors.Join(t.csv.Error(), t.zip.Close()); err != nil {
		return fmt.Errorf("trace: close: %w", err)
	}
	return nil
}

// ReadTrace yields the samples of a trace. It stops at the first error, which it yields.
func ReadTrace(r io.Reader) iter.Seq2[Sample, error] {
	return func(yield func(Sample, error) bool) {
		zip, err := gzip.NewReader(bufio.NewReader(r))
		if err != nil {
			yield(Sample{}, fmt.Errorf("trace: %w", err))
			return
		}
		rows := csv.NewReader(zip)
		rows.ReuseRecord = true
		rows.FieldsPerRecord = 0 // as many as the header has
		header, err := rows.Read()
		if err == nil {
			err = checkHeader(header)
		}
		for err == nil {
			var row []string
			if row, err = rows.Read(); err != nil {
				break
			}
			var s Sample
			if s, err = parseSample(row); err == nil && !yield(s, nil) {
				return
			}
		}
		if err != io.EOF {
			yield(Sample{}, fmt.Errorf("trace: %w", err))
		}
	}
}

func checkHeader(header []string) error {
	if len(header) != len(columns) && !slices.Contains(earlierColumns, len(header)) {
		return fmt.Errorf("%d columns, expected %d", len(header), len(columns))
	}
	for i, name := range header {
		if name != columns[i].name {
			return fmt.Errorf("column %d is %q, expected %q", i+1, name, columns[i].name)
		}
	}
	return nil
}

func parseSample(row []string) (Sample, error) {
	var s Sample
	for i, text := range row {
		if err := columns[i].set(&s, text); err != nil {
			return s, fmt.Errorf("%s: %w", columns[i].name, err)
		}
	}
	return s, nil
}
