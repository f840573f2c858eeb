package store

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"

	"sekali/aggregator/dedup"
	"sekali/internal/sqlite"
)

//go:embed layout_blocks.sql
var blocksSchema string

//go:embed layout_blocks_views.sql
var blocksViews string

// blocksLayout keeps neighbours together in rows of the table blocks, which cost one insert for all
// of them.
type blocksLayout struct {
	block block
	copy  sqlite.Arena // of a block, where SQLite can read it
}

const (
	insertBlock      = "INSERT INTO blocks (first_seq, last_seq, events, directory, data, checksum) VALUES (?, ?, ?, ?, ?, ?)"
	insertTopicBlock = "INSERT INTO topic_blocks (topic, first_seq) VALUES (?, ?)"
)

func (l *blocksLayout) insert(c *sqlite.Conn, b *bound, isNew []bool, firstSeq int64) (refused []refusal, err error) {
	rows := b.rows
	for i := 0; i < len(rows); {
		var end int
		if end, err = l.gather(rows, isNew, firstSeq, i, blockEvents); err != nil {
			return nil, err
		}
		if l.block.events > 0 {
			err = l.insertBlock(c)
		}
		if isRefusal(c, err) { // one of its events is why: each on its own
			var more []refusal
			more, err = l.insertSingly(c, rows, isNew, firstSeq, i, end)
			refused = append(refused, more...)
		}
		if err != nil {
			return nil, err
		}
		i = end
	}
	return refused, nil
}

// gather fills the block with at most this many new rows from the row from on, and returns the row
// behind its last.
func (l *blocksLayout) gather(rows []Row, isNew []bool, firstSeq int64, from, events int) (end int, err error) {
	l.block.events = 0
	for end = from; end < len(rows); end++ {
		if !isNew[end] {
			continue
		}
		seq := firstSeq + int64(end)
		if l.block.events == 0 {
			l.block.begin(seq)
		}
		if err := l.block.add(seq, &rows[end]); err != nil {
			return end, err
		}
		if l.block.events == events || l.block.full() {
			return end + 1, nil
		}
	}
	return end, nil
}

// insertSingly writes the new rows from <= i < to as blocks of one.
func (l *blocksLayout) insertSingly(c *sqlite.Conn, rows []Row, isNew []bool, firstSeq int64, from, to int) (refused []refusal, err error) {
	for i := from; i < to; i++ {
		if !isNew[i] {
			continue
		}
		if _, err := l.gather(rows[:i+1], isNew, firstSeq, i, 1); err != nil {
			return nil, err
		}
		err := l.insertBlock(c)
		if isRefusal(c, err) {
			isNew[i], refused, err = false, append(refused, refusal{i, err}), nil
		}
		if err != nil {
			return nil, err
		}
	}
	return refused, nil
}

// insertBlock writes the block. If SQLite refuses any of it, nothing of it stays.
func (l *blocksLayout) insertBlock(c *sqlite.Conn) error {
	err := l.writeBlock(c)
	if isRefusal(c, err) {
		first := []int64{l.block.first}
		if failed := errors.Join(c.Run("DELETE FROM blocks WHERE first_seq = ?", first...), c.Run("DELETE FROM topic_blocks WHERE first_seq = ?", first...)); failed != nil {
			return failed
		}
	}
	return err
}

func (l *blocksLayout) writeBlock(c *sqlite.Conn) error {
	b := &l.block
	b.end()
	size := len(b.directory) + len(b.data)
	for _, topic := range b.topics {
		size += len(topic)
	}
	if err := l.copy.Reset(c, size); err != nil {
		return err
	}
	s, err := c.Prepare(insertBlock)
	if err != nil {
		return err
	}
	if err := errors.Join(s.BindInt(1, b.first), s.BindInt(2, b.last), s.BindInt(3, int64(b.events)),
		s.BindText(4, l.copy.Add(view(b.directory))), s.BindBlob(5, l.copy.Add(view(b.data))),
		s.BindInt(6, int64(checksum(b.first, view(b.directory), view(b.data))))); err != nil {
		return err
	}
	if err := s.Change(); err != nil {
		return err
	}
	if s, err = c.Prepare(insertTopicBlock); err != nil {
		return err
	}
	for _, topic := range b.topics {
		if err := errors.Join(s.BindText(1, l.copy.Add(topic)), s.BindInt(2, b.first)); err != nil {
			return err
		}
		if err := s.Change(); err != nil {
			return fmt.Errorf("topic_blocks: %w", err)
		}
	}
	return nil
}

// The first block of a page is the one that begins last before it, since the page may begin inside,
// or the first that has not expired.
const (
	firstOfPage       = "(SELECT max(coalesce(max(first_seq), 0), (SELECT expired_seq + 1 FROM state)) FROM blocks WHERE first_seq <= ?1)"
	selectBlocks      = "SELECT first_seq, directory, data, checksum FROM blocks WHERE first_seq >= " + firstOfPage + " ORDER BY first_seq"
	selectTopicBlocks = `SELECT b.first_seq, b.directory, b.data, b.checksum FROM topic_blocks t CROSS JOIN blocks b ON b.first_seq = t.first_seq
		WHERE t.topic = ?2 AND t.first_seq >= ` + firstOfPage + " ORDER BY t.first_seq"
)

func (*blocksLayout) page(ctx context.Context, db *sql.DB, page Page, each func(seq int64, r Row) (more bool)) error {
	query, args := selectBlocks, []any{page.After}
	if page.Topic != "" {
		query, args = selectTopicBlocks, append(args, page.Topic)
	}
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	var first int64
	var sum uint32
	var directory, data sql.RawBytes
	for more := true; more && rows.Next(); {
		if err := rows.Scan(&first, &directory, &data, &sum); err != nil {
			return err
		}
		err := eachEvent(storedBlock{first, view(directory), view(data), sum}, func(seq int64, r Row) bool {
			switch {
			case page.Until != "" && r.ReceivedAt >= page.Until:
				more = false
			case seq > page.After && r.ReceivedAt >= page.Since && (page.Topic == "" || page.Topic == r.Topic):
				more = each(seq, r)
			}
			return more
		})
		if err != nil {
			return fmt.Errorf("block %d: %w", first, err)
		}
	}
	return rows.Err()
}

// nearest is the beginning of a block, whose data begins with a received_at.
func (*blocksLayout) nearest(ctx context.Context, db *sql.DB, seq int64) (first int64, receivedAt string, err error) {
	err = db.QueryRowContext(ctx, selectNearestBlock, seq).Scan(&first, &receivedAt)
	return first, receivedAt, err
}

const selectNearestBlock = `SELECT first_seq, CAST(substr(data, 1, 30) AS TEXT) FROM blocks
	WHERE first_seq <= ? AND first_seq > (SELECT expired_seq FROM state) ORDER BY first_seq DESC LIMIT 1`

const selectIdentities = `SELECT first_seq, directory, data, checksum FROM blocks
	WHERE first_seq >= (SELECT coalesce(max(first_seq), 0) FROM blocks WHERE first_seq <= ?1) AND first_seq <= ?2 ORDER BY first_seq`

func (*blocksLayout) identities(c *sqlite.Conn, from, to int64, each func(seq int64, topic, id string, content dedup.Content) error) error {
	return c.Rows(selectIdentities, func(s *sqlite.Statement) error {
		first := s.ColumnInt(0)
		var failed error
		err := eachEvent(storedBlock{first, s.ColumnText(1), s.ColumnText(2), uint32(s.ColumnInt(3))}, func(seq int64, r Row) bool {
			if seq >= from && seq <= to {
				failed = each(seq, r.Topic, r.ID, contentOf(&r.Event))
			}
			return failed == nil
		})
		if err != nil {
			return fmt.Errorf("block %d: %w", first, err)
		}
		return failed
	}, from, to)
}

// The events of blocks that have not expired, and the topic of one.
const (
	topicsOfBlocks = "blocks b, json_each(b.directory) e WHERE b.first_seq > (SELECT expired_seq FROM state)"
	topicOfEvent   = "CAST(substr(b.data, json_extract(e.value, '$[1]'), json_extract(e.value, '$[2]')) AS TEXT)"
)

// knownOfBlock counts the topics of one block that topic_blocks knows. Each event is read once: to
// look for each known topic among the events took 40 s of 400 000 events of 1000 topics.
const (
	knownOfBlock = "SELECT count(DISTINCT " + topicOfEvent + ") FROM json_each(b.directory) e WHERE EXISTS (" + entryOfEvent + ")"
	entryOfEvent = "SELECT 1 FROM topic_blocks t WHERE t.topic = " + topicOfEvent + " AND t.first_seq = b.first_seq"
)

// checks sort nothing but the topics of one block, and so take no more memory or room, however many
// events there are.
func (*blocksLayout) checks() []check {
	return []check{
		{"blocks whose numbers are not those of their events", `SELECT count(*) FROM blocks WHERE json_array_length(directory) <> events
			OR json_extract(directory, '$[0][0]') <> 0 OR json_extract(directory, '$[#-1][0]') <> last_seq - first_seq`},
		{"blocks whose data does not end with their last event", `SELECT count(*) FROM (SELECT length(data) AS bytes, json_extract(directory, '$[#-1]') AS last FROM blocks)
			WHERE (SELECT sum(value) FROM json_each(last) WHERE key BETWEEN 1 AND 6) <> bytes + 1`},
		{"blocks that overlap", `SELECT count(*) FROM blocks b
			WHERE first_seq <= (SELECT last_seq FROM blocks WHERE first_seq < b.first_seq ORDER BY first_seq DESC LIMIT 1)`},
		{"events whose topic topic_blocks does not know", "SELECT count(*) FROM " + topicsOfBlocks + ` AND NOT EXISTS
			(SELECT 1 FROM topic_blocks t WHERE t.topic = ` + topicOfEvent + " AND t.first_seq = b.first_seq)"},
		{"topics that topic_blocks knows without reason", `SELECT (SELECT count(*) FROM topic_blocks) - coalesce(sum(known), 0) FROM (
			SELECT (` + knownOfBlock + ") AS known FROM blocks b WHERE b.first_seq > (SELECT expired_seq FROM state))"},
	}
}
