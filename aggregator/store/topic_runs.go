package store

import (
	"context"
	"database/sql"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"

	"sekali/internal/sqlite"
)

//go:embed topic_runs.sql
var topicRunsSchema string

// A batch with many topics says which blocks have which topic in few rows instead of a row each: a
// run, which falls into buckets by a hash of the topic. A hash may be of two topics; then a reader
// of the one looks at blocks of the other in vain.

const (
	topicBuckets = 1 << 8
	// An entry of a bucket is by how much its block begins behind the one of the entry before, or
	// behind the run's beginning, and the rest of the topic's hash.
	hashBytes = 3
	// runFrom is how many rows of topic_blocks a run takes the place of, at least.
	runFrom = 1024
)

// topicRun gathers the run of a batch.
type topicRun struct {
	hashes  []uint32 // by topic
	entries [topicBuckets][]byte
	last    [topicBuckets]int64 // the block of the last entry
	texts   sqlite.Arena
}

// topicHash is the bucket of a topic, in its highest byte, and what its entries hold of it.
func topicHash(topic string) uint32 { return crc32.Checksum(bytesOf(topic), castagnoli) }

const (
	insertTopicRun    = "INSERT INTO topic_runs (first_seq, last_seq) VALUES (?, ?)"
	insertTopicBucket = "INSERT INTO topic_buckets (bucket, first_seq, entries) VALUES (?, ?, ?)"
	// ofTopicBlocks are triggers that refuse events by their topic: each must see its row.
	ofTopicBlocks = "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'topic_blocks'"
)

// write writes what was found as a run.
func (r *topicRun) write(c *sqlite.Conn, found []topicIn, names []string) error {
	first, bytes := found[0].block, r.gather(found, names)
	if err := r.texts.Reset(c, bytes); err != nil {
		return err
	}
	if err := c.Run(insertTopicRun, first, found[len(found)-1].block); err != nil {
		return fmt.Errorf("topic_runs: %w", err)
	}
	s, err := c.Prepare(insertTopicBucket)
	for bucket := 0; err == nil && bucket < topicBuckets; bucket++ {
		if entries := r.entries[bucket]; len(entries) > 0 {
			if err = errors.Join(s.BindInt(1, int64(bucket)), s.BindInt(2, first), s.BindBlob(3, r.texts.Add(view(entries)))); err == nil {
				err = s.Change()
			}
		}
	}
	if err != nil {
		return fmt.Errorf("topic_buckets: %w", err)
	}
	return nil
}

// gather makes the entries of all buckets, and returns their length.
func (r *topicRun) gather(found []topicIn, names []string) (bytes int) {
	r.hashes = r.hashes[:0]
	for _, name := range names {
		r.hashes = append(r.hashes, topicHash(name))
	}
	for bucket := range topicBuckets {
		r.entries[bucket], r.last[bucket] = r.entries[bucket][:0], found[0].block
	}
	for _, f := range found {
		hash := r.hashes[f.topic]
		bucket := hash >> (8 * hashBytes)
		entries := binary.AppendUvarint(r.entries[bucket], uint64(f.block-r.last[bucket]))
		r.entries[bucket] = append(entries, byte(hash>>16), byte(hash>>8), byte(hash))
		r.last[bucket] = f.block
	}
	for bucket := range topicBuckets {
		bytes += len(r.entries[bucket])
	}
	return bytes
}

var errEntries = fmt.Errorf("%w: entries of topic_buckets that are cut", ErrDamaged)

// eachEntry calls each for the entries of a bucket of the run that begins there.
func eachEntry(bucket uint32, first int64, entries []byte, each func(hash uint32, block int64)) error {
	for block := first; len(entries) > 0; {
		behind, n := binary.Uvarint(entries)
		if n <= 0 || len(entries) < n+hashBytes {
			return fmt.Errorf("%w, of bucket %d", errEntries, bucket)
		}
		block += int64(behind)
		each(bucket<<24|uint32(entries[n])<<16|uint32(entries[n+1])<<8|uint32(entries[n+2]), block)
		entries = entries[n+hashBytes:]
	}
	return nil
}

const (
	// ?1 is After, ?2 the topic, ?3 its bucket; the blocks begin behind ?4, too. Both halves come in
	// the order of their keys, and are merged.
	selectOfTopic = `WITH page AS MATERIALIZED (SELECT max(` + firstOfPage + `, ?4 + 1) AS begins)
		SELECT first_seq, NULL, (SELECT begins FROM page) FROM topic_blocks
			WHERE topic = ?2 AND first_seq >= (SELECT begins FROM page)
		UNION ALL
		SELECT first_seq, entries, (SELECT begins FROM page) FROM topic_buckets
			WHERE bucket = ?3 AND first_seq >= (SELECT coalesce(max(first_seq), 0) FROM topic_runs WHERE first_seq <= (SELECT begins FROM page))
		ORDER BY 1`
	// selectListed are the blocks of a list, and whether they have expired since.
	selectListed = `SELECT b.first_seq, b.directory, b.directory_bytes, b.data, b.packed, b.checksum, b.first_seq <= (SELECT expired_seq FROM state)
		FROM json_each(?1) l CROSS JOIN blocks b ON b.first_seq = l.value`
	// listedAtOnce is how many blocks are listed before they are read. A list is read to its end: a
	// second connection for the blocks, while the first one waits, could be one that nobody has.
	listedAtOnce = 32
)

// blocksOfTopic lists the next blocks of a page by topic, behind a block; none: there are no more.
func blocksOfTopic(ctx context.Context, db querier, page Page, behind int64) (blocks []int64, err error) {
	hash := topicHash(page.Topic)
	rows, err := db.QueryContext(ctx, selectOfTopic, page.After, page.Topic, hash>>(8*hashBytes), behind)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var entries sql.RawBytes
	for ctx.Err() == nil && rows.Next() {
		var first, begins int64
		if err := rows.Scan(&first, &entries, &begins); err != nil {
			return nil, err
		}
		if len(blocks) >= listedAtOnce && first > blocks[len(blocks)-1] {
			break
		}
		if entries == nil {
			blocks = append(blocks, first)
			continue
		}
		err := eachEntry(hash>>(8*hashBytes), first, entries, func(of uint32, block int64) {
			other := len(blocks) > 0 && blocks[len(blocks)-1] == block // topic of the same hash
			if of == hash && block >= begins && !other {
				blocks = append(blocks, block)
			}
		})
		if err != nil {
			return nil, fmt.Errorf("run %d: %w", first, err)
		}
	}
	slices.Sort(blocks) // what is left of a block that was cut in two lies within a run, in a row
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return blocks, rows.Err()
}

// pageOfTopic is page, of the blocks that have the topic.
func pageOfTopic(ctx context.Context, db querier, page Page, each func(seq int64, r Row) (more bool)) error {
	var list []byte
	behind := int64(-1)
	of := page // what is left of it: a block that is cut in two meanwhile is listed again
	shown := func(seq int64, r Row) (more bool) {
		of.After = seq
		return each(seq, r)
	}
	for more := true; more; {
		blocks, err := blocksOfTopic(ctx, db, of, behind)
		if err != nil || len(blocks) == 0 {
			return err
		}
		list = append(list[:0], '[')
		for i, block := range blocks {
			if i > 0 {
				list = append(list, ',')
			}
			list = strconv.AppendInt(list, block, 10)
		}
		expired := false
		if more, expired, err = pageOfBlocks(ctx, db, of, shown, selectListed, string(append(list, ']'))); err != nil {
			return err
		}
		if !expired { // else they are listed anew: the first may be another
			behind = blocks[len(blocks)-1]
		}
	}
	return nil
}

// selectExpiredRun is the newest run whose blocks have all expired. Runs do not overlap: of those
// that begin up to there one may end behind it, and so no more than two are looked at.
const selectExpiredRun = "SELECT first_seq FROM topic_runs WHERE first_seq <= ?1 AND last_seq <= ?1 ORDER BY first_seq DESC LIMIT 1"

// dropRuns removes the runs whose blocks have all expired.
func dropRuns(c *sqlite.Conn, expiredSeq int64) error {
	last := int64(0)
	err := c.Rows(selectExpiredRun, func(s *sqlite.Statement) error {
		last = s.ColumnInt(0)
		return nil
	}, expiredSeq)
	if err != nil || last == 0 {
		return err
	}
	for bucket := range int64(topicBuckets) {
		if err := c.Run("DELETE FROM topic_buckets WHERE bucket = ? AND first_seq <= ?", bucket, last); err != nil {
			return err
		}
	}
	return c.Run("DELETE FROM topic_runs WHERE first_seq <= ?", last)
}
