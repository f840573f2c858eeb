package store

import (
	"errors"
	"fmt"
	"strings"

	"sekali/aggregator/journal"
	"sekali/internal/sqlite"
)

// State is the row that every commit rewrites. Each field has its column in stateColumns.
type State struct {
	Commits          int64
	UniqueProcessed  int64
	DuplicateDropped int64
	Rejected         int64
	Failed           int64 // dead letters, every attempt counted
	Expired          int64 // of UniqueProcessed, those whose content is gone …
	ExpiredSeq       int64 // … which are all up to here
	Conflicts        int64 // of DuplicateDropped, those that say something else than what is stored
	LastSeq          int64
	LastReceivedAt   string           // RFC 3339, "" before the first event
	Journal          journal.Position // the next frame to apply …
	JournalApplied   int              // … but for its first events
}

// stateColumns are the columns of the table state, and the field that each is read into and written
// from. All SQL that reads or writes the row is made of them.
var stateColumns = []struct {
	name  string
	field func(*State) any
}{
	{"commits", func(s *State) any { return &s.Commits }},
	{"unique_processed", func(s *State) any { return &s.UniqueProcessed }},
	{"duplicate_dropped", func(s *State) any { return &s.DuplicateDropped }},
	{"rejected", func(s *State) any { return &s.Rejected }},
	{"failed", func(s *State) any { return &s.Failed }},
	{"expired", func(s *State) any { return &s.Expired }},
	{"expired_seq", func(s *State) any { return &s.ExpiredSeq }},
	{"conflicts", func(s *State) any { return &s.Conflicts }},
	{"last_seq", func(s *State) any { return &s.LastSeq }},
	{"last_received_at", func(s *State) any { return &s.LastReceivedAt }},
	{"journal_segment", func(s *State) any { return &s.Journal.Segment }},
	{"journal_offset", func(s *State) any { return &s.Journal.Offset }},
	{"journal_applied", func(s *State) any { return &s.JournalApplied }},
}

var (
	selectState = "SELECT " + columnList("") + " FROM state"
	updateState = "UPDATE state SET " + columnList(" = ?")
)

// columnList lists the columns, each with what stands behind it.
func columnList(behind string) string {
	var names []string
	for _, column := range stateColumns {
		names = append(names, column.name+behind)
	}
	return strings.Join(names, ", ")
}

// fields are pointers to the fields, in the order of the columns.
func (s *State) fields() []any {
	fields := make([]any, len(stateColumns))
	for i, column := range stateColumns {
		fields[i] = column.field(s)
	}
	return fields
}

func readState(c *sqlite.Conn) (s State, err error) {
	if err := c.Row(selectState, s.fields()...); err != nil {
		return State{}, fmt.Errorf("read the state: %w", err)
	}
	return s, nil
}

// writeState rewrites the row, in the transaction that the caller has begun.
func writeState(c *sqlite.Conn, state State) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("state: %w", err)
		}
	}()
	s, err := c.Prepare(updateState)
	if err != nil {
		return err
	}
	received, free, err := c.Text(state.LastReceivedAt) // the only text
	if err != nil {
		return err
	}
	defer free()
	for i, column := range stateColumns {
		at := int32(i + 1)
		switch field := column.field(&state).(type) {
		case *int64:
			err = errors.Join(err, s.BindInt(at, *field))
		case *uint64:
			err = errors.Join(err, s.BindInt(at, int64(*field)))
		case *int:
			err = errors.Join(err, s.BindInt(at, int64(*field)))
		case *string:
			err = errors.Join(err, s.BindText(at, received))
		}
	}
	if err != nil {
		return err
	}
	return s.Change()
}
