package store

import (
	"cmp"
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"slices"

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
	packings [packingsInHand]packing
	fill     blockFill
	copy     sqlite.Arena // of a block, where SQLite can read it

	// Of the batch. Topics are by their number in it.
	topics []int32   // of the block
	seen   []int64   // by topic: the first seq of the last block that has it
	found  []topicIn // of all blocks, in their order
	blocks []int64   // of found, in the order of the topics
	starts []int     // by topic: where its blocks begin among blocks
	names  sqlite.Arena
	run    topicRun

	runFrom int // 0: runFrom, tests take less
}

// topicIn is a topic and the first seq of a block that has it.
type topicIn struct {
	topic int32
	block int64
}

const (
	insertBlock = `INSERT INTO blocks (first_seq, last_seq, events, directory, data, checksum, packed, directory_bytes)
		VALUES (?, ?, ?, '', ?, ?, ?, ?)`
	insertTopicBlock = "INSERT INTO topic_blocks (topic, first_seq) VALUES (?, ?)"
	// What takes back blocks from one on. Each is a look at the end of a key: the tables are long.
	deleteBlocks       = "DELETE FROM blocks WHERE first_seq >= ?"
	deleteTopicBlocks  = "DELETE FROM topic_blocks WHERE topic = ? AND first_seq >= ?"
	deleteTopicRuns    = "DELETE FROM topic_runs WHERE first_seq >= ?"
	deleteTopicBuckets = "DELETE FROM topic_buckets WHERE bucket = ? AND first_seq >= ?"
)

func (l *blocksLayout) insert(c *sqlite.Conn, b *bound, isNew []bool, firstSeq int64) (refused []refusal, err error) {
	err = l.insertTogether(c, b, isNew, firstSeq)
	if isRefusal(c, err) { // one of the events is why, and nobody knows which
		if err := l.takeBack(c, &b.topics, b.topics.order, firstSeq); err != nil {
			return nil, err
		}
		for bucket := range int64(topicBuckets) {
			if err := c.Run(deleteTopicBuckets, bucket, firstSeq); err != nil {
				return nil, err
			}
		}
		if err := c.Run(deleteTopicRuns, firstSeq); err != nil {
			return nil, err
		}
		return l.insertApart(c, b, isNew, firstSeq)
	}
	return nil, err
}

// takeBack removes the blocks from one on, which have none but these topics, and what topic_blocks
// has of them.
func (l *blocksLayout) takeBack(c *sqlite.Conn, topics *topicSet, of []int32, first int64) error {
	if err := c.Run(deleteBlocks, first); err != nil {
		return err
	}
	size := 0
	for _, topic := range of {
		size += len(topics.names[topic])
	}
	if err := l.names.Reset(c, size); err != nil {
		return err
	}
	s, err := c.Prepare(deleteTopicBlocks)
	if err != nil {
		return err
	}
	for _, topic := range of {
		if err := errors.Join(s.BindText(1, l.names.Add(topics.names[topic])), s.BindInt(2, first)); err != nil {
			return err
		}
		if _, err := s.Run(); err != nil {
			return err
		}
	}
	return nil
}

// insertTogether writes all blocks, and then which of them have which topics.
func (l *blocksLayout) insertTogether(c *sqlite.Conn, b *bound, isNew []bool, firstSeq int64) error {
	l.begin(b)
	defer l.await()
	n := 0
	for i := 0; i < len(b.rows); n++ {
		p := &l.packings[n%packingsInHand]
		if p.underWay { // from a round before
			if err := l.writeBlock(c, p); err != nil {
				return err
			}
		}
		end, err := l.gather(&p.block, b, isNew, firstSeq, i, blockEvents)
		if err != nil {
			return err
		}
		if p.block.events > 0 {
			p.begin(end < len(b.rows) || n > 0)
			for _, topic := range l.topics {
				l.found = append(l.found, topicIn{topic, p.block.first})
			}
		}
		i = end
	}
	for range packingsInHand { // in the order in which they were begun
		if p := &l.packings[n%packingsInHand]; p.underWay {
			if err := l.writeBlock(c, p); err != nil {
				return err
			}
		}
		n++
	}
	return l.writeTopics(c, &b.topics)
}

// await waits for what an error has left under way.
func (l *blocksLayout) await() {
	for i := range l.packings {
		l.packings[i].await()
	}
}

// insertApart writes each block and its topics, and of a block that SQLite refuses each event on
// its own.
func (l *blocksLayout) insertApart(c *sqlite.Conn, b *bound, isNew []bool, firstSeq int64) (refused []refusal, err error) {
	l.begin(b)
	p := &l.packings[0]
	for i := 0; i < len(b.rows); {
		var end int
		if end, err = l.gather(&p.block, b, isNew, firstSeq, i, blockEvents); err != nil {
			return nil, err
		}
		if p.block.events > 0 {
			err = l.insertBlock(c, p, &b.topics)
		}
		if isRefusal(c, err) { // one of its events is why: each on its own
			var more []refusal
			more, err = l.insertSingly(c, b, isNew, firstSeq, i, end)
			refused = append(refused, more...)
		}
		if err != nil {
			return nil, err
		}
		i = end
	}
	return refused, nil
}

// begin forgets the batch before.
func (l *blocksLayout) begin(b *bound) {
	n := len(b.topics.names)
	l.seen = slices.Grow(l.seen[:0], n)[:n]
	clear(l.seen)
	l.found = l.found[:0]
}

// gather fills a block with at most this many new rows from the row from on, and returns the row
// behind its last.
func (l *blocksLayout) gather(into *block, b *bound, isNew []bool, firstSeq int64, from, events int) (end int, err error) {
	into.events, l.topics = 0, l.topics[:0]
	limit := l.fill.dataBytes()
	for end = from; end < len(b.rows); end++ {
		if !isNew[end] {
			continue
		}
		seq := firstSeq + int64(end)
		if into.events == 0 {
			into.begin(seq)
		}
		if err := into.add(seq, &b.rows[end]); err != nil {
			return end, err
		}
		if topic := b.topics.of[end]; l.seen[topic] != into.first {
			l.seen[topic] = into.first
			l.topics = append(l.topics, topic)
		}
		if into.events == events || into.full() || len(into.data) >= limit {
			return end + 1, nil
		}
	}
	return end, nil
}

// insertSingly writes the new rows from <= i < to as blocks of one.
func (l *blocksLayout) insertSingly(c *sqlite.Conn, b *bound, isNew []bool, firstSeq int64, from, to int) (refused []refusal, err error) {
	clear(l.seen) // the first of them has the refused block's seq
	p := &l.packings[0]
	for i := from; i < to; i++ {
		if !isNew[i] {
			continue
		}
		if _, err := l.gather(&p.block, b, isNew, firstSeq, i, 1); err != nil {
			return nil, err
		}
		err := l.insertBlock(c, p, &b.topics)
		if isRefusal(c, err) {
			isNew[i], refused, err = false, append(refused, refusal{i, err}), nil
		}
		if err != nil {
			return nil, err
		}
	}
	return refused, nil
}

// insertBlock writes the block and its topics. If SQLite refuses any of it, nothing of it stays.
func (l *blocksLayout) insertBlock(c *sqlite.Conn, p *packing, topics *topicSet) error {
	p.begin(false)
	err := l.writeBlock(c, p)
	if err == nil {
		err = l.writeBlockTopics(c, p.block.first, topics)
	}
	if isRefusal(c, err) {
		if failed := l.takeBack(c, topics, l.topics, p.block.first); failed != nil {
			return failed
		}
	}
	return err
}

// writeBlock waits until the block is packed.
func (l *blocksLayout) writeBlock(c *sqlite.Conn, p *packing) error {
	if p.await(); p.panicked != nil {
		panic(p.panicked)
	}
	if p.err != nil {
		return p.err
	}
	b := &p.block
	l.fill.packed(len(b.data), len(p.data))
	if err := l.copy.Reset(c, len(p.data)); err != nil {
		return err
	}
	s, err := c.Prepare(insertBlock)
	if err != nil {
		return err
	}
	if err := errors.Join(s.BindInt(1, b.first), s.BindInt(2, b.last), s.BindInt(3, int64(b.events)),
		s.BindBlob(4, l.copy.Add(view(p.data))), s.BindInt(5, int64(p.checksum)),
		s.BindInt(6, int64(p.packed)), s.BindInt(7, int64(len(b.directory)))); err != nil {
		return err
	}
	return s.Change()
}

// writeBlockTopics writes the topics of the block that was gathered last.
func (l *blocksLayout) writeBlockTopics(c *sqlite.Conn, first int64, topics *topicSet) error {
	size := 0
	for _, topic := range l.topics {
		size += len(topics.names[topic])
	}
	if err := l.names.Reset(c, size); err != nil {
		return err
	}
	for _, topic := range l.topics {
		if err := writeTopic(c, l.names.Add(topics.names[topic]), first); err != nil {
			return err
		}
	}
	return nil
}

// writeTopic writes that these blocks have a topic.
func writeTopic(c *sqlite.Conn, name sqlite.Text, blocks ...int64) error {
	s, err := c.Prepare(insertTopicBlock)
	if err == nil {
		err = s.BindText(1, name)
	}
	for i := 0; err == nil && i < len(blocks); i++ {
		if err = s.BindInt(2, blocks[i]); err == nil {
			err = s.Change()
		}
	}
	if err != nil {
		return fmt.Errorf("topic_blocks: %w", err)
	}
	return nil
}

// writeTopics writes what was found, as a run or to topic_blocks, topic by topic.
func (l *blocksLayout) writeTopics(c *sqlite.Conn, topics *topicSet) error {
	if len(l.found) >= cmp.Or(l.runFrom, runFrom) {
		var triggers int64
		if err := c.Row(ofTopicBlocks, &triggers); err != nil {
			return err
		}
		if triggers == 0 {
			return l.run.write(c, l.found, topics.names)
		}
	}
	l.sortFound(len(topics.names))
	if err := l.names.Reset(c, topics.bytes()); err != nil {
		return err
	}
	for _, topic := range topics.order {
		blocks := l.blocks[l.starts[topic]:l.starts[topic+1]]
		if len(blocks) == 0 {
			continue
		}
		if err := writeTopic(c, l.names.Add(topics.names[topic]), blocks...); err != nil {
			return err
		}
	}
	return nil
}

// sortFound puts found in the order of the topics' numbers, by counting.
func (l *blocksLayout) sortFound(topics int) {
	l.starts = slices.Grow(l.starts[:0], topics+2)[:topics+2]
	clear(l.starts)
	for _, f := range l.found {
		l.starts[f.topic+2]++
	}
	for i := 2; i < len(l.starts); i++ {
		l.starts[i] += l.starts[i-1]
	}
	l.blocks = slices.Grow(l.blocks[:0], len(l.found))[:len(l.found)]
	for _, f := range l.found {
		l.blocks[l.starts[f.topic+1]] = f.block
		l.starts[f.topic+1]++
	}
}

// The first block of a page is the one that begins last before it, since the page may begin inside,
// or the first that has not expired.
const (
	firstOfPage  = "(SELECT max(coalesce(max(first_seq), 0), (SELECT expired_seq + 1 FROM state)) FROM blocks WHERE first_seq <= ?1)"
	selectBlocks = "SELECT " + blockColumns + ", 0 FROM blocks WHERE first_seq >= " + firstOfPage + " ORDER BY first_seq"
)

func (*blocksLayout) page(ctx context.Context, db querier, page Page, each func(seq int64, r Row) (more bool)) error {
	if page.Topic != "" {
		return pageOfTopic(ctx, db, page, each)
	}
	_, _, err := pageOfBlocks(ctx, db, page, each, selectBlocks, page.After)
	return err
}

// pageOfBlocks calls each for the events of a page in the blocks that a query has, and returns
// whether there may be more. It ends before a block that has expired.
func pageOfBlocks(ctx context.Context, db querier, page Page, each func(seq int64, r Row) (more bool), query string, arg any) (more, expired bool, err error) {
	rows, err := db.QueryContext(ctx, query, arg)
	if err != nil {
		return false, false, err
	}
	defer rows.Close()
	var directory, data sql.RawBytes
	for more = true; more && ctx.Err() == nil && rows.Next(); {
		var b storedBlock
		if err := rows.Scan(&b.first, &directory, &b.directoryBytes, &data, &b.packed, &b.checksum, &expired); err != nil || expired {
			return true, expired, err
		}
		b.directory, b.data = view(directory), view(data)
		err := eachEvent(b, func(seq int64, r Row) bool {
			switch {
			case page.Until != "" && r.ReceivedAt >= page.Until:
				more = false
			case seq > page.After && r.ReceivedAt >= page.Since && (page.Topic == "" || page.Topic == r.Topic):
				more = each(seq, r)
			}
			return more
		})
		if err != nil {
			return false, false, fmt.Errorf("block %d: %w", b.first, err)
		}
	}
	if err := ctx.Err(); more && err != nil {
		return false, false, err
	}
	return more, false, rows.Err()
}

// nearest is the beginning of a block.
func (*blocksLayout) nearest(ctx context.Context, db querier, seq int64) (first, last int64, receivedAt string, err error) {
	var b storedBlock
	if err = db.QueryRowContext(ctx, selectNearestBlock, seq).Scan(&b.first, &b.directory, &b.directoryBytes, &b.data, &b.packed, &b.checksum, &last); err != nil {
		return 0, 0, "", err
	}
	receivedAt, err = firstReceived(b)
	return b.first, max(seq, last), receivedAt, err
}

const selectNearestBlock = "SELECT " + blockColumns + `, last_seq FROM blocks
	WHERE first_seq <= ? AND first_seq > (SELECT expired_seq FROM state) ORDER BY first_seq DESC LIMIT 1`

const selectIdentities = "SELECT " + blockColumns + ` FROM blocks
	WHERE first_seq >= (SELECT coalesce(max(first_seq), 0) FROM blocks WHERE first_seq <= ?1) AND first_seq <= ?2 ORDER BY first_seq`

func (*blocksLayout) identities(c *sqlite.Conn, from, to int64, each func(seq int64, topic, id string, content dedup.Content) error) error {
	return c.Rows(selectIdentities, func(s *sqlite.Statement) error {
		b := readBlock(s)
		var failed error
		err := eachEvent(b, func(seq int64, r Row) bool {
			if seq >= from && seq <= to {
				failed = each(seq, r.Topic, r.ID, contentOf(&r.Event))
			}
			return failed == nil
		})
		if err != nil {
			return fmt.Errorf("block %d: %w", b.first, err)
		}
		return failed
	}, from, to)
}
