package store

import (
	"cmp"
	"container/heap"
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"slices"
	"strings"

	"sekali/internal/sqlite"
)

//go:embed topic_counts.sql
var topicCountsSchema string

const (
	// countsFrom is how many topics of a batch are counted in a run, at least.
	countsFrom = 2048
	// pieceBytes is the length of a piece, about.
	pieceBytes = 32 << 10
	// runsAtOnce is how many runs of about the same size become one.
	runsAtOnce = 8
	// mergeRoom is how much of the disk a merge takes for a byte of its runs: in the database and in
	// the WAL, and what their pages leave free.
	mergeRoom = 3
)

// countsPiece gathers topics, or gives them back one by one.
type countsPiece struct {
	first  string // of a piece that is gathered
	topics int64
	counts []byte

	rest   []byte // of counts, behind the topic that was given last
	name   []byte
	events int64
}

// add appends a topic, which comes behind those before.
func (p *countsPiece) add(name string, events int64) {
	same := 0
	if p.topics == 0 {
		p.first = strings.Clone(name)
	} else {
		for same < min(len(name), len(p.name)) && name[same] == p.name[same] {
			same++
		}
	}
	p.counts = binary.AppendUvarint(p.counts, uint64(same))
	p.counts = binary.AppendUvarint(p.counts, uint64(len(name)-same))
	p.counts = binary.AppendUvarint(p.counts, uint64(events))
	p.counts = append(p.counts, name[same:]...)
	p.name = append(p.name[:same], name[same:]...)
	p.topics++
}

var errCounts = fmt.Errorf("%w: a piece of topic_counts", ErrDamaged)

// next gives the next topic as name and events; false: there is none. Each name is behind the one
// before.
func (p *countsPiece) next() (bool, error) {
	if len(p.rest) == 0 {
		return false, nil
	}
	var numbers [3]uint64
	for i := range numbers {
		value, n := binary.Uvarint(p.rest)
		if n <= 0 {
			return false, errCounts
		}
		numbers[i], p.rest = value, p.rest[n:]
	}
	same, more := numbers[0], numbers[1]
	if same > uint64(len(p.name)) || more == 0 || more > uint64(len(p.rest)) || same < uint64(len(p.name)) && p.rest[0] <= p.name[same] {
		return false, errCounts
	}
	p.name = append(p.name[:same], p.rest[:more]...)
	p.rest, p.events = p.rest[more:], int64(numbers[2])
	return true, nil
}

// countsMerge gives the topics of pieces in the order of their names, each once with its events in
// all. The pieces come in the order of their first topics.
type countsMerge struct {
	open pieces
	each func(name string, events int64) (more bool, err error)

	name   []byte // the topic that is added up
	events int64
	some   bool // there is one
	ended  bool // each wants no more
}

// add takes a piece.
func (m *countsMerge) add(p *countsPiece) error {
	if err := m.advance(p.name); err != nil {
		return err
	}
	heap.Push(&m.open, p)
	return nil
}

// addPiece takes the counts of a run's piece that begins with a topic and has so many, or, of one
// that is damaged, nothing.
func (m *countsMerge) addPiece(run int64, first string, topics int64, counts []byte) error {
	p := &countsPiece{rest: counts}
	more, err := p.next()
	all := countsPiece{rest: p.rest, name: slices.Clone(p.name)}
	damaged := string(p.name) != first
	for ; err == nil && more; topics-- {
		more, err = all.next()
	}
	if damaged || err != nil || topics != 0 {
		return fmt.Errorf("%w, of run %d", errCounts, run)
	}
	return m.add(p)
}

// advance gives the topics that come before a name; nil: all that are left.
func (m *countsMerge) advance(before []byte) error {
	for len(m.open) > 0 && !m.ended && (before == nil || string(m.open[0].name) < string(before)) {
		p := m.open[0]
		if err := m.take(p.name, p.events); err != nil {
			return err
		}
		more, err := p.next()
		switch {
		case err != nil:
			return err
		case more:
			heap.Fix(&m.open, 0)
		default:
			heap.Pop(&m.open)
		}
	}
	return nil
}

// take adds events of a topic.
func (m *countsMerge) take(name []byte, events int64) error {
	if m.some && string(name) == string(m.name) {
		m.events += events
		return nil
	}
	if err := m.give(); err != nil {
		return err
	}
	m.name, m.events, m.some = append(m.name[:0], name...), events, true
	return nil
}

func (m *countsMerge) give() (err error) {
	if m.some && !m.ended {
		var more bool
		more, err = m.each(view(m.name), m.events)
		m.some, m.ended = false, !more
	}
	return err
}

// end gives what is left.
func (m *countsMerge) end() error { return errors.Join(m.advance(nil), m.give()) }

// pieces are a heap, the piece with the first topic at the front.
type pieces []*countsPiece

func (h pieces) Len() int           { return len(h) }
func (h pieces) Less(i, j int) bool { return string(h[i].name) < string(h[j].name) }
func (h pieces) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *pieces) Push(p any)        { *h = append(*h, p.(*countsPiece)) }
func (h *pieces) Pop() any {
	last := len(*h) - 1
	p := (*h)[last]
	*h = (*h)[:last]
	return p
}

// countsRun writes a run, piece by piece.
type countsRun struct {
	conn  *sqlite.Conn
	texts *sqlite.Arena
	run   int64
	piece countsPiece
}

func (r *countsRun) add(name string, events int64) error {
	r.piece.add(name, events)
	if len(r.piece.counts) >= pieceBytes {
		return r.end()
	}
	return nil
}

// end writes the piece in hand.
func (r *countsRun) end() error {
	p := &r.piece
	if p.topics == 0 {
		return nil
	}
	if err := r.texts.Reset(r.conn, len(p.first)+len(p.counts)); err != nil {
		return err
	}
	s, err := r.conn.Prepare("INSERT INTO topic_counts (name, run, topics, counts) VALUES (?, ?, ?, ?)")
	if err != nil {
		return err
	}
	err = errors.Join(s.BindText(1, r.texts.Add(p.first)), s.BindInt(2, r.run), s.BindInt(3, p.topics), s.BindBlob(4, r.texts.Add(view(p.counts))))
	if err != nil {
		return err
	}
	p.topics, p.counts = 0, p.counts[:0]
	return s.Change()
}

// countInRun counts events as a run, and makes one of runs of the same size.
func (a *Applier) countInRun(c *sqlite.Conn, each iter.Seq2[string, int64]) error {
	last := int64(0)
	if err := c.Row("SELECT coalesce(max(run), 0) FROM topic_counts WHERE run > 0", &last); err != nil {
		return err
	}
	run := countsRun{conn: c, texts: &a.texts, run: last + 1}
	for name, events := range each {
		if err := run.add(name, events); err != nil {
			return err
		}
	}
	if err := run.end(); err != nil {
		return err
	}
	for {
		last++
		first, bytes, err := runsToMerge(c)
		if err != nil || first == 0 {
			return err
		}
		if a.Room != nil && mergeRoom*bytes > a.Room() {
			return nil // a later batch merges them, once there is room
		}
		if err := a.mergeRuns(c, first, last); err != nil {
			return err
		}
	}
}

const selectRuns = "SELECT run, sum(topics), sum(length(name) + length(counts)) FROM topic_counts WHERE run > 0 GROUP BY run ORDER BY run DESC"

// runsToMerge returns the first of the runs that are to be one, and their length, or 0 if there are
// none: so many of the latest are no larger than the size of the last, in powers of runsAtOnce.
func runsToMerge(c *sqlite.Conn) (from, bytes int64, err error) {
	largest, n, other := 0, 0, false
	err = c.Rows(selectRuns, func(s *sqlite.Statement) error {
		size := bits.Len64(uint64(s.ColumnInt(1))) / bits.Len(runsAtOnce-1)
		if n == 0 {
			largest = size
		}
		if other = other || size > largest; !other {
			from = s.ColumnInt(0)
			bytes += s.ColumnInt(2)
			n++
		}
		return nil
	})
	if n < runsAtOnce {
		from = 0
	}
	return from, bytes, err
}

// mergeRuns makes one of the runs from first to last. Topics of which they count nothing in all,
// since their events have expired, are in none after that.
func (a *Applier) mergeRuns(c *sqlite.Conn, first, last int64) error {
	to := countsRun{conn: c, texts: &a.texts, run: last + 1}
	m := countsMerge{each: func(name string, events int64) (bool, error) {
		if events == 0 {
			return true, nil
		}
		return true, to.add(name, events)
	}}
	err := c.Rows("SELECT run, name, topics, counts FROM topic_counts WHERE run BETWEEN ? AND ? ORDER BY name, run", func(s *sqlite.Statement) error {
		run, name := s.ColumnInt(0), s.ColumnText(1)
		err := m.addPiece(run, name, s.ColumnInt(2), []byte(s.ColumnText(3)))
		if errors.Is(err, ErrDamaged) {
			return setAsidePiece(c, name, run)
		}
		return err
	}, first, last)
	if err == nil {
		err = m.end()
	}
	if err == nil {
		err = to.end()
	}
	if err != nil {
		return err
	}
	return c.Run("DELETE FROM topic_counts WHERE run BETWEEN ? AND ?", first, last)
}

// setAsidePiece leaves a damaged piece out of all merges: the events go on, and the check and
// /stats tell of it.
func setAsidePiece(c *sqlite.Conn, name string, run int64) error {
	text, free, err := c.Text(name)
	if err != nil {
		return err
	}
	defer free()
	s, err := c.Prepare("UPDATE topic_counts SET run = -run WHERE name = ? AND run = ?")
	if err == nil {
		err = errors.Join(s.BindText(1, text), s.BindInt(2, run))
	}
	if err == nil {
		_, err = s.Run()
	}
	return err
}

const selectTopics = `SELECT name, events, 0, NULL FROM topics UNION ALL SELECT name, topics, run, counts FROM topic_counts ORDER BY 1`

// eachTopicCount calls each for the topics in the order of their names, until it returns false. A
// name is valid until each returns. What is damaged is left out, and ErrDamaged in the end.
func eachTopicCount(ctx context.Context, db querier, each func(name string, events int64) (more bool)) error {
	rows, err := db.QueryContext(ctx, selectTopics)
	if err != nil {
		return damagedTopics(err)
	}
	defer rows.Close()
	m := countsMerge{each: func(name string, events int64) (bool, error) { return each(name, events), nil }}
	var damaged error // the first
	for !m.ended && ctx.Err() == nil && rows.Next() {
		var name, counts []byte
		var n, run int64
		if err := rows.Scan(&name, &n, &run, &counts); err != nil {
			return err
		}
		if counts == nil {
			err = m.add(&countsPiece{name: name, events: n})
		} else {
			err = m.addPiece(run, string(name), n, counts)
		}
		if errors.Is(err, ErrDamaged) {
			damaged, err = cmp.Or(damaged, err), nil
		}
		if err != nil {
			return err
		}
	}
	if err := ctx.Err(); !m.ended && err != nil {
		return err
	}
	return errors.Join(m.end(), damagedTopics(rows.Err()), damaged)
}

// damagedTopics is an error of reading the topics, ErrDamaged where SQLite says that its file is.
func damagedTopics(err error) error {
	if sqlite.IsDamage(err) {
		return fmt.Errorf("%w: topics or topic_counts: %w", ErrDamaged, err)
	}
	return err
}
