package cluster

import (
	_ "embed"
	"errors"
	"fmt"
	"time"

	"sekali/aggregator/store"
	"sekali/internal/sqlite"
)

//go:embed replica.sql
var replicaSchema string

// keptCheckpoints is how many are kept: a replica that is so far behind is compared when it has
// caught up.
const keptCheckpoints = 64

// Entry is a message of the log on its way into the store.
type Entry struct {
	At      uint64 // its place in the log
	Frame   Frame  // without a body where it does not count
	Counts  bool
	Skipped bool // nobody can take or apply it, and a control says to pass over it
	// Accepted is when this node's journal had it, since when its events count as received; zero: it
	// is another node's.
	Accepted time.Time
}

// Events is how many events it adds to a batch.
func (e *Entry) Events() int {
	if !e.Counts {
		return 0
	}
	return e.Frame.Events
}

// PassedOver is the entry without what it leads to. If it counts, its session goes on behind it, as
// all readers have taken it to.
func (e *Entry) PassedOver() *Entry {
	over := Entry{At: e.At, Frame: e.Frame, Counts: e.Counts && e.Frame.Control == nil, Skipped: true}
	over.Frame.Control, over.Frame.Body, over.Frame.Events, over.Frame.unpacked = nil, nil, 0, false
	return &over
}

// Checkpoint is the hash at a position.
type Checkpoint struct {
	Position uint64
	Hash     Hash
}

// Replica is what the store knows of the log. It belongs to the writer.
type Replica struct {
	Identity Identity
	Position uint64
	Hash     Hash
	Apply    uint16 // version in force

	latest  Checkpoint // of the transaction under way …
	apply   uint16
	skipped []uint64
	made    []Checkpoint
	buf     []byte
}

var (
	// ErrNotReplica means a database that is no replica.
	ErrNotReplica = errors.New("the database is no replica of a cluster")
	// ErrTrigger means a trigger in the database: what it does, the other replicas do not.
	ErrTrigger = errors.New("the database has a trigger, which the other replicas need not have")
)

// IsReplica reports whether the database is a replica.
func IsReplica(c *sqlite.Conn) (is bool, err error) {
	err = c.Rows("SELECT 1 FROM sqlite_schema WHERE name = 'cluster' AND type = 'table'", func(*sqlite.Statement) error {
		is = true
		return nil
	})
	return is, err
}

// MakeReplica makes the database a replica that has applied nothing of a log, which begins with an
// apply version; 0: the first. It is called inside a transaction.
func MakeReplica(c *sqlite.Conn, id Identity, apply uint16) error {
	if err := c.Exec(replicaSchema); err != nil {
		return err
	}
	s, err := c.Prepare("INSERT INTO cluster (id, cluster, epoch, created, position, hash, apply) VALUES (1, ?, ?, ?, 0, ?, ?)")
	if err != nil {
		return err
	}
	cluster, free, err := c.Text(id.Cluster)
	if err != nil {
		return err
	}
	defer free()
	hash, free, err := c.Text(Hash{}.String())
	if err != nil {
		return err
	}
	defer free()
	if err := errors.Join(s.BindText(1, cluster), s.BindInt(2, int64(id.Epoch)), s.BindInt(3, id.Created.UnixNano()), s.BindText(4, hash), s.BindInt(5, int64(max(apply, firstApply)))); err != nil {
		return err
	}
	return s.Change()
}

// OpenReplica reads how far the database has come.
func OpenReplica(c *sqlite.Conn) (*Replica, Cursor, error) {
	cursor := Cursor{Sessions: map[Session]Seen{}, Skipped: map[uint64]bool{}}
	if is, err := IsReplica(c); err != nil || !is {
		return nil, cursor, errors.Join(err, ErrNotReplica)
	}
	var triggers int64
	if err := c.Row("SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'", &triggers); err != nil || triggers > 0 {
		return nil, cursor, errors.Join(err, ErrTrigger)
	}
	r := &Replica{}
	var epoch, created, position, apply int64
	var hash string
	if err := c.Row("SELECT cluster, epoch, created, position, hash, apply FROM cluster", &r.Identity.Cluster, &epoch, &created, &position, &hash, &apply); err != nil {
		return nil, cursor, err
	}
	r.Identity.Epoch, r.Identity.Created, r.Position = uint64(epoch), time.Unix(0, created), uint64(position)
	var err error
	if r.Hash, err = ParseHash(hash); err != nil {
		return nil, cursor, err
	}
	r.latest, r.Apply, r.apply = Checkpoint{r.Position, r.Hash}, uint16(apply), uint16(apply)
	cursor.Position = r.Position
	err = c.Rows("SELECT session, number, checksum, position FROM cluster_sessions", func(s *sqlite.Statement) error {
		session, err := parseSession(s.ColumnText(0))
		cursor.Sessions[session] = Seen{uint64(s.ColumnInt(1)), uint32(s.ColumnInt(2)), uint64(s.ColumnInt(3))}
		return err
	})
	if err == nil {
		err = c.Rows("SELECT position FROM cluster_skipped", func(s *sqlite.Statement) error {
			cursor.Skipped[uint64(s.ColumnInt(0))] = true
			return nil
		})
	}
	return r, cursor, err
}

// MoveReplica makes a replica go on with a log of a later epoch, at its beginning. What it knows of
// the senders stays, but for where in the log it was: what they send again is known. It is called
// inside a transaction.
func MoveReplica(c *sqlite.Conn, to Identity) error {
	err := runTexts(c, "UPDATE cluster SET cluster = ?1, epoch = ?2, created = ?3, position = 0", to.Cluster, int64(to.Epoch), to.Created.UnixNano())
	if err != nil {
		return err
	}
	return c.Exec("UPDATE cluster_sessions SET position = 0; DELETE FROM cluster_checkpoints; DELETE FROM cluster_skipped")
}

// Checkpoints reads the hashes that are kept, oldest first.
func Checkpoints(c *sqlite.Conn) (kept []Checkpoint, err error) {
	err = c.Rows("SELECT position, hash FROM cluster_checkpoints ORDER BY position", func(s *sqlite.Statement) error {
		hash, err := ParseHash(s.ColumnText(1))
		kept = append(kept, Checkpoint{uint64(s.ColumnInt(0)), hash})
		return err
	})
	return kept, err
}

// Also is what the transaction of a batch does beside storing its rows, which are the events of the
// entries, in their order: it moves the position, the hash and the sessions. Where the entries are
// cut into batches does not show in any of them.
func (r *Replica) Also(entries []*Entry, rows []store.Row) func(*sqlite.Conn, *store.Outcome) error {
	return func(c *sqlite.Conn, out *store.Outcome) error {
		if len(out.Failed) > 0 { // the other replicas have stored them, or will
			return halt("the database has refused %d events", len(out.Failed))
		}
		hash, row := r.Hash, 0
		r.made, r.skipped, r.apply = r.made[:0], r.skipped[:0], r.Apply
		sessions := map[Session]Seen{}
		for _, e := range entries {
			d := decision{at: e.At, sum: e.Frame.Sum, counts: e.Counts, skipped: e.Skipped}
			if control := e.Frame.Control; control != nil {
				r.apply = max(r.apply, control.Apply)
				d.control = []int64{out.State.Expired, out.State.ExpiredSeq, int64(r.apply)}
			}
			if e.Skipped {
				r.skipped = append(r.skipped, e.At)
			}
			if n := e.Events(); n > 0 {
				d.first, d.receivedAt, d.seqs = out.FirstSeq+int64(row), rows[row].ReceivedAt, out.Seqs[row:row+n]
				row += n
			}
			if e.Counts && e.Frame.Control == nil {
				sessions[e.Frame.Session] = Seen{e.Frame.Number, e.Frame.Sum, e.At}
			}
			hash, r.buf = hash.next(r.buf, &d)
			if e.At%checkpointEvery == 0 {
				r.made = append(r.made, Checkpoint{e.At, hash})
			}
		}
		if row != len(rows) {
			return halt("the batch has %d rows, its frames %d events", len(rows), row)
		}
		r.latest = Checkpoint{entries[len(entries)-1].At, hash}
		return r.write(c, sessions)
	}
}

// write is called inside the transaction.
func (r *Replica) write(c *sqlite.Conn, sessions map[Session]Seen) error {
	if err := runTexts(c, "UPDATE cluster SET hash = ?1, position = ?2, apply = ?3", r.latest.Hash.String(), int64(r.latest.Position), int64(r.apply)); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	for _, at := range r.skipped {
		if err := c.Run("INSERT INTO cluster_skipped (position) VALUES (?)", int64(at)); err != nil {
			return fmt.Errorf("cluster_skipped: %w", err)
		}
	}
	for session, seen := range sessions {
		err := runTexts(c, `INSERT INTO cluster_sessions (session, number, checksum, position) VALUES (?1, ?2, ?3, ?4)
			ON CONFLICT (session) DO UPDATE SET number = excluded.number, checksum = excluded.checksum, position = excluded.position`,
			session.String(), int64(seen.Number), int64(seen.Sum), int64(seen.Position))
		if err != nil {
			return fmt.Errorf("cluster_sessions: %w", err)
		}
	}
	for _, made := range r.made {
		err := runTexts(c, "INSERT INTO cluster_checkpoints (hash, position) VALUES (?1, ?2)", made.Hash.String(), int64(made.Position))
		if err == nil {
			err = c.Run("DELETE FROM cluster_checkpoints WHERE position <= ?", int64(made.Position)-keptCheckpoints*checkpointEvery)
		}
		if err != nil {
			return fmt.Errorf("cluster_checkpoints: %w", err)
		}
	}
	return nil
}

// Committed takes over what the transaction has made durable, and returns the checkpoints that are
// new.
func (r *Replica) Committed() []Checkpoint {
	r.Position, r.Hash, r.Apply = r.latest.Position, r.latest.Hash, r.apply
	return r.made
}

// runTexts runs a statement whose first parameter is a text.
func runTexts(c *sqlite.Conn, sql, text string, numbers ...int64) error {
	s, err := c.Prepare(sql)
	if err != nil {
		return err
	}
	t, free, err := c.Text(text)
	if err != nil {
		return err
	}
	defer free()
	err = s.BindText(1, t)
	for i, n := range numbers {
		err = errors.Join(err, s.BindInt(int32(i+2), n))
	}
	if err != nil {
		return err
	}
	return s.Change()
}
