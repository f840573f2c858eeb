package store

import (
	"context"
	"errors"
	"fmt"

	"sekali/aggregator/dedup"
	"sekali/internal/sqlite"
)

// Layout is how the events lie in the database; a database keeps the one it was made with.
type Layout string

// The layouts: a row of a table each, and some neighbours together in a row.
const (
	LayoutRows   Layout = "rows"
	LayoutBlocks Layout = "blocks"
)

// ParseLayout returns the layout of this name.
func ParseLayout(name string) (Layout, error) {
	switch l := Layout(name); l {
	case LayoutRows, LayoutBlocks:
		return l, nil
	}
	return "", fmt.Errorf("%q, want blocks or rows", name)
}

// Design is how a database is made, and stays.
type Design struct {
	Dedup  Dedup  `json:"dedup"`
	Layout Layout `json:"layout"`
}

// ErrDesign means a database of another design than the one asked for.
var ErrDesign = errors.New("another design")

// layout writes and reads the events.
type layout interface {
	// insert is called inside the transaction: row i, if it is new, is stored under firstSeq+i. It
	// returns the rows that SQLite refused, and takes their mark away.
	insert(c *sqlite.Conn, b *bound, isNew []bool, firstSeq int64) ([]refusal, error)
	// page calls each for the events of a page. Their texts are valid until it returns.
	page(ctx context.Context, db querier, page Page, each func(seq int64, r Row) (more bool)) error
	// nearest returns a stored number and its time: seq, or the next lower one that can be found
	// without reading others; sql.ErrNoRows if there is none. Up to last it returns the same.
	nearest(ctx context.Context, db querier, seq int64) (stored, last int64, receivedAt string, err error)
	// identities calls each for every event with from <= seq <= to, in the order of seq.
	identities(c *sqlite.Conn, from, to int64, each func(seq int64, topic, id string, content dedup.Content) error) error
	// examine reads all events, counts them, and tells of every fault of the layout's own.
	examine(c *sqlite.Conn) (census, []string, error)
}

// newLayout returns the layout l, for one connection's writer and any readers.
func newLayout(l Layout) layout {
	if l == LayoutRows {
		return &rowsLayout{}
	}
	return &blocksLayout{}
}

// layoutSchema is the part of the schema that the layouts differ in.
func layoutSchema(l Layout) string {
	if l == LayoutRows {
		return rowsSchema
	}
	return blocksSchema + topicRunsSchema
}
