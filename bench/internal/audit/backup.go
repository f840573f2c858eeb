package audit

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
)

// maxCopied bounds the events of a copy that are compared one by one, 30 µs each; all are counted.
const maxCopied = 5000

// ErrNoRoom says that the disk has no room for a copy, which is no lie.
var ErrNoRoom = errors.New("audit: the disk has no room for a copy")

// Backup is a copy that a server gave of its database, in a folder of its own until it is removed.
type Backup struct {
	dir    string
	events uint64
	sound  bool // it is what its checksum says, and a database that is whole
}

// TakeBackup has a copy made of a database that nothing is added to, and looks into it.
func TakeBackup(ctx context.Context, from Reader) (*Backup, error) {
	dir, err := os.MkdirTemp("", "sekali-backup-")
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	b := &Backup{dir: dir}
	whole, err := from.backup(ctx, filepath.Join(dir, databaseFile))
	if err != nil {
		return nil, errors.Join(err, b.Remove())
	}
	database, err := InspectDatabase(ctx, dir)
	if ctx.Err() != nil {
		return nil, errors.Join(ctx.Err(), b.Remove())
	}
	b.events, b.sound = database.Events, err == nil && whole && database.Integrity == "ok"
	return b, nil
}

// Remove takes the copy from the disk; nil is none.
func (b *Backup) Remove() error {
	if b == nil {
		return nil
	}
	return os.RemoveAll(b.dir)
}

// CheckBackup counts what of the export is not in a copy. One that is no database, or not what its
// checksum says, is wrong once.
func (r *Reference) CheckBackup(ctx context.Context, b *Backup, stored uint64) (Check, error) {
	if !b.sound {
		return None(BackupEvents, 1), nil
	}
	if wrong := max(b.events, stored) - min(b.events, stored); wrong > 0 {
		return None(BackupEvents, wrong), nil
	}
	db, err := openDatabase(b.dir)
	if err != nil {
		return Check{}, err
	}
	wrong, err := r.unlike(ctx, db)
	if err = errors.Join(err, db.Close()); err != nil && ctx.Err() == nil {
		return None(BackupEvents, 1), nil // it was read a moment ago
	}
	return None(BackupEvents, wrong), err
}

// backup writes a copy to path, and says whether it is what its checksum says.
func (r Reader) backup(ctx context.Context, path string) (whole bool, err error) {
	answer, err := r.ask(ctx, "/backup", nil)
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, maxProblemBytes))
		if answer.StatusCode == http.StatusServiceUnavailable && bytes.Contains(text, []byte(`"disk_full"`)) {
			return false, ErrNoRoom
		}
		return false, fmt.Errorf("audit: GET /backup: %s: %s", answer.Status, text)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return false, fmt.Errorf("audit: %w", err)
	}
	sum := sha256.New()
	_, broken := io.Copy(io.MultiWriter(file, sum), answer.Body)
	if err := file.Close(); err != nil {
		return false, fmt.Errorf("audit: %w", err)
	}
	return broken == nil && answer.Header.Get("Content-Digest") == "sha-256=:"+base64.StdEncoding.EncodeToString(sum.Sum(nil))+":", ctx.Err()
}

// unlike counts the first events of a copy that are not what the export has at their seq.
func (r *Reference) unlike(ctx context.Context, db *sql.DB) (wrong uint64, err error) {
	rows, err := db.QueryContext(ctx, "SELECT seq, topic, event_id, timestamp, source, coalesce(payload, 'null'), received_at FROM events LIMIT ?", maxCopied)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var e Event
		if err := rows.Scan(&e.Seq, &e.Topic, &e.EventID, &e.Timestamp, &e.Source, &e.Payload, &e.ReceivedAt); err != nil {
			return 0, err
		}
		at, found := slices.BinarySearchFunc(r.held, e.Seq, func(h held, seq int64) int { return cmp.Compare(h.seq, seq) })
		switch {
		case e.Seq <= r.after || !found && len(r.held) == maxHeld: // it is not known
		case !found || r.held[at].hash != hashOf(&e):
			wrong++
		}
	}
	return wrong, rows.Err()
}
