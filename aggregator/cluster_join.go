package aggregator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sekali/aggregator/crash"
	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/internal/cluster/jetstream"
	"sekali/aggregator/journal"
	"sekali/aggregator/store"
	"sekali/internal/sqlite"
)

const (
	// joining begins the name of a folder, in the data folder, in which a copy becomes a replica. Each
	// join makes its own, and has the lock of the file joiningOf in it, which says for what node.
	joining, joiningOf = "joining-", "node"
	// witnessWait is how long a join waits for two other replicas to tell a hash that the copy has.
	witnessWait  = 10 * time.Second
	witnessPause = time.Second
)

// removeLeftovers removes what a copy has left that was killed, and what a join for this node has.
func removeLeftovers(data, node string) error {
	err := store.RemoveCopy(data)
	entries, failed := os.ReadDir(data)
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), joining) {
			err = errors.Join(err, removeJoining(filepath.Join(data, e.Name()), node))
		}
	}
	return errors.Join(err, failed)
}

// removeJoining removes the folder of a join for a node that was killed. It leaves that of one that
// is under way, that of another node, and a folder that no join has made.
func removeJoining(dir, node string) error {
	of, err := os.Open(filepath.Join(dir, joiningOf))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer of.Close()
	if err := unix.Flock(int(of.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	} else if err != nil {
		return fmt.Errorf("lock %s: %w", of.Name(), err)
	}
	if name, err := io.ReadAll(of); err != nil || len(name) > 0 && string(name) != node {
		return err
	}
	return os.RemoveAll(dir)
}

// makeJoining makes a folder for this join alone, which remove removes.
func makeJoining(data, node string) (dir string, remove func() error, err error) {
	if dir, err = os.MkdirTemp(data, joining+"*"); err != nil {
		return "", nil, err
	}
	of, err := os.OpenFile(filepath.Join(dir, joiningOf), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	remove = func() error { return errors.Join(os.RemoveAll(dir), of.Close()) }
	if err = unix.Flock(int(of.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
		_, err = of.WriteString(node)
	}
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("%s: %w", of.Name(), err), remove())
	}
	return dir, remove, nil
}

// joiner makes a replica.
type joiner struct {
	*ClusterConfig
	w    io.Writer
	dir  string // in which the copy becomes one
	peer *peer  // that it is copied from; nil: from a file
	log  *jetstream.Log
	head cluster.Head
	pin  *cluster.Pin // nil: from a file

	own  string             // the cluster that the folder is a replica of; "": of none
	at   cluster.Checkpoint // where the copy is …
	kept []cluster.Checkpoint
}

// ClusterJoin puts a copy of another replica's database in the place of a stopped aggregator's, or
// into an empty folder: a file, or what a running peer gives, while the log is kept. What the
// node's own journal has is kept: its outbox goes on. The copy's position is inside it, and the one
// rename is the last that is done: a kill before leaves the folder as it was. A join that is
// refused gives back all that it took: the folder, its lock, and the node's name in the log's
// registry.
func ClusterJoin(ctx context.Context, c ClusterConfig, w io.Writer) (err error) {
	if c.Data == "" || c.From == "" {
		return fmt.Errorf("%w: -data and -from are needed", ErrConfig)
	}
	j := &joiner{ClusterConfig: &c, w: w}
	if from, err := url.Parse(c.From); err == nil && (from.Scheme == "http" || from.Scheme == "https") {
		if c.Node == "" {
			return fmt.Errorf("%w: -node is needed: the log is kept for it meanwhile", ErrConfig)
		}
		if j.peer, err = c.newPeer(c.From, peerMakes); err != nil {
			return err
		}
	}
	folder, err := takeFolder(c.Data)
	if err != nil {
		return err
	}
	defer func() {
		if err == nil {
			folder.unlock()
		} else {
			err = errors.Join(err, folder.giveBack())
		}
	}()
	return j.run(ctx)
}

// run is ClusterJoin once the folder is taken.
func (j *joiner) run(ctx context.Context) (err error) {
	own, err := j.ownState()
	if err != nil {
		return err
	}
	if err := removeLeftovers(j.Data, j.Node); err != nil {
		return err
	}
	var remove func() error
	if j.dir, remove, err = makeJoining(j.Data, j.Node); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.close(), remove()) }()
	if j.peer == nil {
		err = copyFile(j.From, filepath.Join(j.dir, store.File))
	} else {
		err = j.fetch(ctx)
	}
	if err != nil {
		return err
	}
	crash.Here(crash.JoinCopied)
	position, err := j.adopt(ctx, own)
	if err != nil {
		return err
	}
	crash.Here(crash.JoinChecked)
	if j.pin != nil {
		j.pin.Replacing()
	}
	if err := store.Replace(j.dir, j.Data); err != nil {
		return err
	}
	crash.Here(crash.JoinReplaced)
	if j.pin != nil {
		j.pin.Joined(j.at, j.kept)
	}
	fmt.Fprintf(j.w, "%s is a replica at %d of the cluster's log, which goes to %d\n", j.Data, position, j.head.Last)
	return nil
}

// ownState is the state of the folder's own store, of which the copy takes over where the journal
// is. A journal that is not there begins anew.
func (j *joiner) ownState() (own store.State, err error) {
	if _, err := os.Stat(filepath.Join(j.Data, store.File)); errors.Is(err, os.ErrNotExist) {
		return own, nil
	}
	if err := journalBegun(j.Data); err != nil {
		return own, err
	}
	s, own, err := store.Open(j.Data, store.Design{})
	if err != nil {
		return own, err
	}
	// Its WAL goes with it: none lies beside the copy.
	return own, errors.Join(j.mayReplace(s, own), s.Close())
}

// mayReplace refuses a store whose events no other replica has.
func (j *joiner) mayReplace(s *store.Store, own store.State) error {
	replica, err := isReplica(s)
	if err != nil {
		return err
	}
	if replica {
		return s.Pool.QueryRow("SELECT cluster FROM cluster").Scan(&j.own)
	}
	waiting, err := journal.Check(filepath.Join(j.Data, "journal"), own.Journal)
	if err != nil {
		return err
	}
	if n := waiting.Events - own.JournalApplied; own.LastSeq > 0 || n > 0 {
		return fmt.Errorf("%s has events of an aggregator that is in no cluster (%d stored, %d waiting), and a copy would take their place: "+
			"move it away, or begin a cluster with it by `cluster init -data`", j.Data, own.UniqueProcessed, n)
	}
	return nil
}

// close ends what holds the log.
func (j *joiner) close() (err error) {
	if j.pin != nil {
		err = j.pin.Release()
	}
	if j.log != nil {
		err = errors.Join(err, j.log.Close())
	}
	return err
}

// fetch keeps the log from where the peer is, and has it send a copy.
func (j *joiner) fetch(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, clusterBudget)
	defer cancel()
	epoch, position, err := j.peer.position(bounded)
	if err != nil {
		return err
	}
	if err := j.reach(bounded, epoch); err != nil {
		return err
	}
	if !slices.Contains(j.head.Nodes, j.Node) {
		return fmt.Errorf("%w: -node=%s is none of the cluster's: %v", ErrConfig, j.Node, j.head.Nodes)
	}
	to := cluster.PinFor{Registry: j.log.Registry(), Node: j.Node, Head: j.head, Stored: j.own != ""}
	if j.pin, err = cluster.TakePin(bounded, to, position); err != nil {
		return err
	}
	crash.Here(crash.JoinPinned)
	fmt.Fprintf(j.w, "the log is kept for %s\n", j.Node)
	began := time.Now()
	bytes, err := j.peer.copyTo(ctx, filepath.Join(j.dir, store.File))
	if err != nil {
		return err
	}
	fmt.Fprintf(j.w, "copied %d bytes from %s in %.1f s, checksum right\n", bytes, j.From, time.Since(began).Seconds())
	return nil
}

// reach dials the log of an epoch, and waits for what it says of itself.
func (j *joiner) reach(ctx context.Context, epoch uint64) (err error) {
	if j.log, err = j.dial(ctx, epoch); err != nil {
		return err
	}
	j.head, err = awaitHeadOf(ctx, j.log)
	return err
}

// copyFile copies a database that nobody has open, and that has no WAL beside it.
func copyFile(from, to string) error {
	if info, err := os.Stat(from + "-wal"); err == nil && info.Size() > 0 {
		return fmt.Errorf("%s has a WAL: take the copy with `aggregator backup`, or stop its aggregator", from)
	}
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}

// adopt checks the copy, compares it with other replicas, and gives it this node's journal
// position.
func (j *joiner) adopt(ctx context.Context, own store.State) (position uint64, err error) {
	_, faults, err := store.Check(ctx, j.dir)
	if err != nil {
		return 0, fmt.Errorf("the copy of %s: %w", j.From, err)
	}
	if len(faults) > 0 {
		return 0, fmt.Errorf("%s: %s", j.From, strings.Join(faults, "; "))
	}
	err = store.Adopt(j.dir, own.Journal, own.JournalApplied, func(conn *sqlite.Conn) error {
		replica, _, err := cluster.OpenReplica(conn)
		if err != nil {
			return err
		}
		kept, err := cluster.Checkpoints(conn)
		if err != nil {
			return err
		}
		position = replica.Position
		return j.compare(ctx, replica, kept)
	})
	return position, err
}

// compare refuses a copy with which the log cannot go on, or that another replica contradicts.
func (j *joiner) compare(ctx context.Context, replica *cluster.Replica, kept []cluster.Checkpoint) error {
	ctx, cancel := context.WithTimeout(ctx, clusterBudget)
	defer cancel()
	at := cluster.Checkpoint{Position: replica.Position, Hash: replica.Hash}
	j.at, j.kept = at, kept
	if j.log == nil {
		if err := j.reach(ctx, replica.Identity.Epoch); err != nil {
			return err
		}
	}
	head, err := awaitHeadOf(ctx, j.log)
	if err != nil {
		return err
	}
	j.head = head
	switch {
	case head.Identity.Cluster != replica.Identity.Cluster || !head.Created.Equal(replica.Identity.Created):
		return fmt.Errorf("%s is of another cluster's log, of %s", j.From, replica.Identity.Created.UTC().Format(time.RFC3339))
	case j.own != "" && j.own != replica.Identity.Cluster:
		return fmt.Errorf("%s is a replica of another cluster than %s: move it away", j.Data, j.From)
	case replica.Position > head.Last || replica.Position+1 < head.First:
		return fmt.Errorf("%s is at %d, and the log has %d to %d: take a newer copy", j.From, replica.Position, head.First, head.Last)
	}
	return j.askWitnesses(ctx, append(slices.Clone(kept), at))
}

// askWitnesses compares the copy's hashes with those that two other replicas tell. Where fewer have
// one in common with it, as in a log of less than 4096 frames, that is said: the node compares by
// itself once it runs.
func (j *joiner) askWitnesses(ctx context.Context, own []cluster.Checkpoint) error {
	others := slices.DeleteFunc(slices.Clone(j.head.Nodes), func(name string) bool { return name == j.Node })
	for end := time.Now().Add(witnessWait); ; time.Sleep(witnessPause) {
		beats, err := cluster.Beats(ctx, j.log.Registry(), others)
		var said []cluster.Agreement
		if err == nil {
			said, err = cluster.CompareCopy(j.head.Identity, own, beats)
		}
		if errors.Is(err, cluster.ErrDiffers) {
			return fmt.Errorf("%s: %w: `aggregator cluster check` tells more", j.From, err)
		}
		agree := 0
		for _, a := range said {
			if a.Why == "" {
				agree++
			}
		}
		late := time.Now().After(end) || ctx.Err() != nil
		switch {
		case err != nil && late:
			return err
		case err != nil:
			continue
		case agree < min(2, len(others)) && !late && len(own) > 1:
			continue
		}
		for _, a := range said {
			if a.Why == "" {
				fmt.Fprintf(j.w, "%s has the same hash at %d\n", a.Node, a.At)
			} else {
				fmt.Fprintf(j.w, "%s was not compared: %s\n", a.Node, a.Why)
			}
		}
		return nil
	}
}
