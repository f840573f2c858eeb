package store

import (
	"cmp"
	_ "embed"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"sekali/aggregator/dedup"
	"sekali/internal/sqlite"
)

//go:embed dedup_table.sql
var tableSchema string

// tableDedup decides with INSERT OR IGNORE into dedup_store: the reference.
type tableDedup struct {
	order     []key
	seqs      []int64
	conflicts []int
}

// key is a row's place in the order of dedup_store. Most comparisons end at the
// topic's rank and the id's first eight bytes.
type key struct {
	topic  int32
	row    int32
	prefix uint64
}

const (
	insertDedup  = "INSERT OR IGNORE INTO dedup_store (topic, event_id, seq, content) VALUES (?, ?, ?, ?)"
	selectStored = "SELECT content, seq FROM dedup_store WHERE topic = ? AND event_id = ?"
)

func (*tableDedup) newKeys() *dedup.Batch { return nil }

// decide inserts the identities, in key order, so that neighbours on a page of the
// index are written together.
func (d *tableDedup) decide(c *sqlite.Conn, b *bound, firstSeq int64) ([]int64, []int, []refusal, error) {
	rows := b.rows
	texts, err := b.texts(c)
	if err != nil {
		return nil, nil, nil, err
	}
	s, err := c.Prepare(insertDedup)
	if err != nil {
		return nil, nil, nil, err
	}
	d.sort(rows)
	d.seqs, d.conflicts = append(d.seqs[:0], make([]int64, len(rows))...), d.conflicts[:0]
	var refused []refusal
	for _, k := range d.order {
		if n := len(refused); n > 0 && same(&rows[refused[n-1].row], &rows[k.row]) {
			continue // it is set aside with the one that it repeats
		}
		r := &texts[k.row]
		seq := firstSeq + int64(k.row)
		content := contentOf(&rows[k.row].Event)
		if err := errors.Join(s.BindText(1, r.topic), s.BindText(2, r.id), s.BindInt(3, seq), s.BindInt(4, int64(content))); err != nil {
			return nil, nil, nil, err
		}
		err := s.Change()
		if err == nil {
			d.seqs[k.row] = seq
			continue
		}
		if !isRefusal(c, err) {
			return nil, nil, nil, err
		}
		// OR IGNORE ignores a duplicate, but so may a trigger what is new.
		stored, storedSeq, lookup := storedUnder(c, r)
		if lookup != nil {
			return nil, nil, nil, lookup
		}
		switch {
		case storedSeq == 0 || storedSeq == seq: // not stored, or in spite of the error
			refused = append(refused, refusal{int(k.row), err})
		case content.Conflicts(stored):
			d.conflicts = append(d.conflicts, int(k.row))
		}
	}
	return d.seqs, d.conflicts, refused, nil
}

// storedUnder is the content and the seq of the event that is stored under a row's identity; seq 0:
// none is.
func storedUnder(c *sqlite.Conn, r *rowText) (content dedup.Content, seq int64, err error) {
	s, err := c.Prepare(selectStored)
	if err != nil {
		return 0, 0, err
	}
	if err := errors.Join(s.BindText(1, r.topic), s.BindText(2, r.id)); err != nil {
		return 0, 0, err
	}
	found, err := s.Step()
	if found {
		content, seq = dedup.Content(s.ColumnInt(0)), s.ColumnInt(1) // the content is 0 for NULL
	}
	return content, seq, errors.Join(err, s.Reset())
}

// committed: the table is in the transaction itself.
func (d *tableDedup) committed([]bool, int64) time.Duration { return 0 }

func (d *tableDedup) forget(c *sqlite.Conn, r *Row) error {
	s, err := c.Prepare("DELETE FROM dedup_store WHERE topic = ? AND event_id = ?")
	if err != nil {
		return err
	}
	for i, value := range []string{r.Topic, r.ID} {
		text, free, e := c.Text(value)
		if e != nil {
			return e
		}
		defer free()
		err = errors.Join(err, s.BindText(int32(i+1), text))
	}
	if err == nil {
		_, err = s.Run()
	}
	return err
}

func (d *tableDedup) memoryBytes() int64 { return 0 }

func (d *tableDedup) close() error { return nil }

// sort puts the rows' keys in order: by topic, id, and place in the batch, so that
// of two with the same identity the first wins.
func (d *tableDedup) sort(rows []Row) {
	ranks := map[string]int32{}
	for i := range rows {
		ranks[rows[i].Topic] = 0
	}
	for rank, topic := range slices.Sorted(maps.Keys(ranks)) {
		ranks[topic] = int32(rank)
	}
	d.order = d.order[:0]
	for i := range rows {
		d.order = append(d.order, key{ranks[rows[i].Topic], int32(i), prefix(rows[i].ID)})
	}
	slices.SortFunc(d.order, func(x, y key) int {
		if x.topic != y.topic {
			return cmp.Compare(x.topic, y.topic)
		}
		if x.prefix != y.prefix {
			return cmp.Compare(x.prefix, y.prefix)
		}
		if by := strings.Compare(rows[x.row].ID, rows[y.row].ID); by != 0 {
			return by
		}
		return cmp.Compare(x.row, y.row)
	})
}

// prefix is the first eight bytes, in an integer of the same order.
func prefix(s string) uint64 {
	var b [8]byte
	copy(b[:], s)
	return binary.BigEndian.Uint64(b[:])
}
