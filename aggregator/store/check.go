package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"github.com/dchest/siphash"

	"sekali/aggregator/dedup"
	"sekali/internal/sqlite"
)

// check is a query that counts what must not be.
type check struct{ what, query string }

// checks are what must hold in every database.
var checks = []check{
	{"numbers used that are neither stored nor a duplicate's nor a dead letter's", "SELECT abs(last_seq - unique_processed - duplicate_dropped - failed) FROM state"},
	{"dead letters that failed does not count", "SELECT abs((SELECT coalesce(sum(attempts), 0) FROM dead_letters) - (SELECT failed FROM state))"},
	{"conflicts beyond the duplicates", "SELECT max(0, conflicts - duplicate_dropped) FROM state"},
}

// tableChecks are what must hold of dedup_store where it is a table.
var tableChecks = []check{
	{"events that dedup_store does not know by their seq", `SELECT count(*) FROM identities e LEFT JOIN dedup_store d
		ON d.topic = e.topic AND d.event_id = e.event_id WHERE d.seq IS NOT e.seq`},
	{"entries of dedup_store beyond the events", "SELECT abs((SELECT count(*) FROM dedup_store) - (SELECT count(*) FROM identities))"},
}

// Check examines the database in dir, which nobody writes to, and returns its state and every fault
// it finds, those that it has found before an error too.
func Check(ctx context.Context, dir string) (state State, faults []string, err error) {
	path := filepath.Join(dir, File)
	wal, err := recognised(path)
	if err == nil {
		err = whole(path, wal)
	}
	if err != nil {
		return State{}, nil, fmt.Errorf("store: %w", err)
	}
	db, err := openReadOnly(dir)
	if err != nil {
		return State{}, nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if state, faults, err = checkAll(ctx, db, dir); err != nil {
		err = fmt.Errorf("store: check: %w", explained(path, err))
	}
	return state, faults, err
}

// checkAll is Check, of a database that is open.
func checkAll(ctx context.Context, db *sql.DB, dir string) (state State, faults []string, err error) {
	if err := checkVersion(ctx, db); err != nil {
		return state, nil, err
	}
	if faults, err = integrity(ctx, db); err != nil {
		return state, faults, err
	}
	design, err := designOf(dir)
	if err != nil {
		return state, faults, err
	}
	events := newLayout(design.Layout)
	all := checks
	if design.Dedup == DedupTable {
		all = slices.Concat(all, tableChecks)
	}
	for _, c := range all {
		var n int64
		if err := db.QueryRowContext(ctx, c.query).Scan(&n); err != nil {
			return state, faults, fmt.Errorf("%s: %w", c.what, err)
		}
		if n != 0 {
			faults = append(faults, fmt.Sprintf("%d %s", n, c.what))
		}
	}
	if err := db.QueryRowContext(ctx, selectState).Scan(state.fields()...); err != nil {
		return state, faults, fmt.Errorf("state: %w", err)
	}
	more, err := checkCounts(ctx, db, dir, events, state)
	if err != nil {
		return state, faults, err
	}
	faults = append(faults, more...)
	fault, err := checkIdentities(dir, events, state.UniqueProcessed)
	if errors.Is(err, ErrDamaged) {
		fault, err = err.Error(), nil
	}
	if err != nil {
		return state, faults, err
	}
	if fault != "" && !slices.Contains(faults, fault) {
		faults = append(faults, fault)
	}
	if design.Dedup == DedupRuns {
		more, err := checkRuns(events, dir, state.LastSeq)
		if err != nil {
			return state, faults, err
		}
		faults = append(faults, more...)
	}
	return state, faults, nil
}

// checkVersion refuses a schema that this program does not know, or not as it is.
func checkVersion(ctx context.Context, db *sql.DB) error {
	var version int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	switch {
	case version > schemaVersion:
		return fmt.Errorf("schema version %d, this program knows %d", version, schemaVersion)
	case version < schemaVersion:
		return fmt.Errorf("schema version %d: the aggregator takes it forward to %d when it is started, and then it can be checked", version, schemaVersion)
	}
	return nil
}

// checkCounts counts the events and holds what counts them against that.
func checkCounts(ctx context.Context, db *sql.DB, dir string, events layout, state State) (faults []string, err error) {
	c, err := openConnReadOnly(dir)
	if err != nil {
		return nil, err
	}
	found, faults, err := events.examine(c)
	if err = errors.Join(err, c.Close()); err != nil {
		return nil, err
	}
	ofTopics, sum := int64(0), uint64(0)
	err = eachTopicCount(ctx, db, func(topic string, events int64) bool {
		ofTopics, sum = ofTopics+events, sum+topicSum(topic, events)
		return true
	})
	if errors.Is(err, ErrDamaged) {
		faults, err = append(faults, err.Error()), nil
	}
	if err != nil {
		return nil, err
	}
	for _, count := range []struct {
		what      string
		got, want int64
	}{
		{"events that unique_processed does not count", found.stored, state.UniqueProcessed},
		{"events that expired does not count", found.stored - found.unexpired, state.Expired},
		{"events that topics does not count", found.unexpired, ofTopics},
		{"numbers of events beyond last_seq", max(found.last, state.LastSeq), state.LastSeq},
	} {
		if n := max(count.got-count.want, count.want-count.got); n != 0 {
			faults = append(faults, fmt.Sprintf("%d %s", n, count.what))
		}
	}
	if found.disordered != 0 {
		faults = append(faults, fmt.Sprintf("%d events received before their predecessor", found.disordered))
	}
	if found.unexpired == ofTopics && found.topics != sum {
		faults = append(faults, "events that topics counts under other topics than theirs")
	}
	return faults, nil
}

// integrity is what SQLite itself finds wrong.
func integrity(ctx context.Context, db *sql.DB) (faults []string, err error) {
	rows, err := db.QueryContext(ctx, "PRAGMA integrity_check")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return faults, err
		}
		if line != "ok" {
			faults = append(faults, "integrity_check: "+line)
		}
	}
	return faults, errors.Join(rows.Err(), rows.Close())
}

// designOf reads how the database in dir was made.
func designOf(dir string) (d Design, err error) {
	c, err := openConnReadOnly(dir)
	if err != nil {
		return d, err
	}
	return d, errors.Join(readDesign(c, &d), c.Close())
}

// identitiesAtOnce is how many identities are compared at a time, 8 bytes each: however many events
// there are, check takes 128 MiB for it, and reads them all as often as it must.
const identitiesAtOnce = 16 << 20

// checkIdentities reads every event, about that many, and counts those whose identity an earlier
// one has.
func checkIdentities(dir string, events layout, about int64) (fault string, err error) {
	c, err := openConnReadOnly(dir)
	if err != nil {
		return "", err
	}
	defer func() {
		if e := c.Close(); err == nil {
			err = e
		}
	}()
	passes := uint64(max(about, 0))/identitiesAtOnce + 1
	twice := 0
	for pass := range passes {
		n, err := identitiesTwice(c, events, pass, passes, uint64(max(about, 0)), hashOf)
		if err != nil {
			return "", err
		}
		twice += n
	}
	if twice > 0 {
		fault = fmt.Sprintf("%d events stored twice", twice)
	}
	return fault, nil
}

// identitiesTwice looks at the identities, about that many in all, whose hash falls to a pass.
// Those that share it are read again with one of 128 bits: two that are not the same are taken to
// be for one in 2^128.
func identitiesTwice(c *sqlite.Conn, events layout, pass, passes, about uint64, hash func(text []byte) uint64) (twice int, err error) {
	each := func(do func(text []byte, h uint64)) error {
		var text []byte
		return events.identities(c, 0, math.MaxInt64, func(_ int64, topic, id string, _ dedup.Content) error {
			text = append(append(append(text[:0], topic...), 0), id...) // no topic holds a zero byte
			if h := hash(text); h%passes == pass {
				do(text, h)
			}
			return nil
		})
	}
	hashes := make([]uint64, 0, about/passes+about/passes/16)
	if err := each(func(_ []byte, h uint64) { hashes = append(hashes, h) }); err != nil {
		return 0, err
	}
	slices.Sort(hashes)
	shared := hashes[:0]
	for i := 1; i < len(hashes); i++ {
		if h := hashes[i]; h == hashes[i-1] && (len(shared) == 0 || h != shared[len(shared)-1]) {
			shared = append(shared, h)
		}
	}
	if len(shared) == 0 {
		return 0, nil
	}
	var whole [][2]uint64
	err = each(func(text []byte, h uint64) {
		if _, found := slices.BinarySearch(shared, h); found {
			a, b := siphash.Hash128(0, 0, text)
			whole = append(whole, [2]uint64{a, b})
		}
	})
	slices.SortFunc(whole, func(a, b [2]uint64) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	for i := 1; i < len(whole); i++ {
		if whole[i] == whole[i-1] {
			twice++
		}
	}
	return twice, err
}

// hashOf is the hash by which identities are compared first.
func hashOf(identity []byte) uint64 { return siphash.Hash(0, 0, identity) }
