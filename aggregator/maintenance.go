package aggregator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"sekali/aggregator/journal"
	"sekali/aggregator/store"
)

// Check examines a data folder that no aggregator runs on, changes nothing, and writes
// what it finds to w. The error says that something is wrong.
func Check(ctx context.Context, data string, w io.Writer) error {
	if err := present(data); err != nil {
		return err
	}
	unlock, err := lockShared(data)
	if errors.Is(err, errRuns) {
		return fmt.Errorf("an aggregator is running on %s: check examines a stopped one; backup works beside it, and check examines the copy", data)
	}
	if err != nil {
		return err
	}
	defer unlock()
	if end, err := store.WALEnd(data); err == nil && end != "" { // an error is Check's as well
		fmt.Fprintln(w, "wal:", end)
	}
	state, faults, err := store.Check(ctx, data)
	if err != nil {
		tell(w, faults)
		return err
	}
	fmt.Fprintf(w, "store: %d events, %d duplicates dropped (%d of them conflicts), %d failed, %d rejected, last seq %d, %d commits\n",
		state.UniqueProcessed, state.DuplicateDropped, state.Conflicts, state.Failed, state.Rejected, state.LastSeq, state.Commits)
	replica, faults, err := checkReplica(data, w, faults)
	if err != nil {
		return err
	}
	switch ahead := store.AheadOf(state.LastReceivedAt, time.Now(), replica); {
	case ahead != "" && replica:
		fmt.Fprintln(w, "time:", ahead)
	case ahead != "":
		faults = append(faults, ahead)
	}
	waiting, err := journal.Check(filepath.Join(data, "journal"), state.Journal)
	if err != nil {
		faults = append(faults, err.Error())
	} else {
		fmt.Fprintf(w, "journal: to be applied: %s, in %s\n", count(waiting.Events-state.JournalApplied, "event"), count(waiting.Frames, "frame"))
	}
	if err := writeFaults(w, faults); err != nil {
		return fmt.Errorf("%s: %w", data, err)
	}
	return nil
}

// writeFaults writes what is wrong, or that all is well. The error says how much it is.
func writeFaults(w io.Writer, faults []string) error {
	tell(w, faults)
	if len(faults) > 0 {
		return errors.New(count(len(faults), "fault"))
	}
	fmt.Fprintln(w, "ok")
	return nil
}

func tell(w io.Writer, faults []string) {
	for _, fault := range faults {
		fmt.Fprintln(w, "fault:", fault)
	}
}

// present says why there is no database in a data folder, before a lock would make the folder.
func present(data string) error {
	_, err := os.Stat(filepath.Join(data, store.File))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no database: %w: is %s the -data of an aggregator?", err, data)
	}
	return err
}

// Backup copies what is committed in a data folder to a new file, which is a whole events.db: put
// into a folder of its own, an aggregator goes on from it. If to is a folder, the file gets a name
// with the time in it. It returns the file's name.
func Backup(ctx context.Context, data, to string) (string, error) {
	if err := present(data); err != nil {
		return "", err
	}
	if info, err := os.Stat(to); err == nil && info.IsDir() {
		to = filepath.Join(to, time.Now().UTC().Format(backupName))
	}
	stopped, err := store.Stopped(data)
	if err != nil {
		return "", err
	}
	if stopped { // nothing may write what is read without SQLite's own locks
		unlock, err := lockShared(data)
		if err != nil {
			return "", err
		}
		defer unlock()
	}
	return to, store.Backup(ctx, data, to)
}

// backupName has milliseconds: a small store is copied in a few.
const backupName = "sekali-20060102T150405.000Z.db"

// MendTime takes back times of receipt that lie in the future, in a data folder that no aggregator
// runs on, and writes to w how many. What waits in the journal carries its own: there must be none,
// as after a stop.
func MendTime(data string, now time.Time, w io.Writer) error {
	if err := present(data); err != nil {
		return err
	}
	unlock, err := lockByHand(data)
	if err != nil {
		return err
	}
	defer unlock()
	s, state, err := openBegun(data)
	if err != nil {
		return err
	}
	if replica, err := isReplica(s); replica || err != nil {
		return errors.Join(err, errReplicaTimes, s.Close())
	}
	if err := s.Close(); err != nil {
		return err
	}
	waiting, err := journal.Check(filepath.Join(data, "journal"), state.Journal)
	if err != nil {
		return err
	}
	if n := waiting.Events - state.JournalApplied; n > 0 {
		return fmt.Errorf("%s: %d events wait in the journal: start the aggregator once, and stop it", data, n)
	}
	mended, err := store.MendTime(data, now)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%d events were received after %s, and are not any more\n", mended, now.UTC().Format(time.RFC3339))
	return nil
}

// openBegun opens the store of a folder that an aggregator has used. A database that has nothing is
// refused: what it had may be in a damaged WAL, which opening it would empty.
func openBegun(data string) (*store.Store, store.State, error) {
	if err := store.Begun(data); err != nil {
		return nil, store.State{}, err
	}
	return store.Open(data, store.Design{})
}

// journalBegun refuses a folder whose journal has begun and whose database has nothing: the journal
// is begun once a database is.
func journalBegun(data string) error {
	has, err := journal.Begun(filepath.Join(data, "journal"))
	if err != nil || !has {
		return err
	}
	return store.Begun(data)
}
