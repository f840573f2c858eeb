package crashimage

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"sekali/aggregator/event"
	"sekali/aggregator/journal"
	"sekali/aggregator/store"
)

// eventsPerRequest is what each request of a run has.
const eventsPerRequest = 5

func eventID(request, i int) string { return fmt.Sprintf("r%d-%d", request, i) }

// found is what a recovery has of an image.
type found struct {
	events map[string]int // how often each is stored or waits
	faults []string
}

// recoverImage opens a data folder as a start does, and reads all that is stored and all that
// waits.
func recoverImage(dir string) (_ found, err error) {
	f := found{events: map[string]int{}}
	s, state, err := store.Open(dir, store.Design{})
	if err != nil {
		return f, err
	}
	defer s.Close()
	j, backlog, err := journal.Open(filepath.Join(dir, "journal"), state.Journal)
	if err != nil {
		return f, err
	}
	defer j.Close()
	if err := f.readStored(s, state); err != nil {
		return f, err
	}
	for i, frame := range backlog {
		data, err := j.Read(frame, nil)
		if err != nil {
			return f, err
		}
		rest := string(data)
		for n := range frame.Events {
			var e event.Event
			if e, rest, err = event.Next(rest); err != nil {
				return f, err
			}
			if applied := i == 0 && frame.Start == state.Journal && n < state.JournalApplied; !applied && f.events[e.ID] == 0 {
				f.events[e.ID] = 1 // one that is stored too is a duplicate, and will be dropped
			}
		}
	}
	return f, nil
}

// readStored reads every event through the readers' way.
func (f *found) readStored(s *store.Store, state store.State) error {
	last := int64(0)
	for {
		data, end, n, err := s.Events(context.Background(), nil, store.Page{After: last, Limit: 1000, Bytes: 1 << 20}, store.NDJSON)
		if err != nil {
			return err
		}
		for line := range bytes.Lines(data) {
			var e struct {
				Seq int64  `json:"seq"`
				ID  string `json:"event_id"`
			}
			if err := json.Unmarshal(line, &e); err != nil {
				return err
			}
			if e.Seq <= last {
				f.faults = append(f.faults, fmt.Sprintf("seq %d behind %d", e.Seq, last))
			}
			last = e.Seq
			f.events[e.ID]++
		}
		if n == 0 {
			break
		}
		last = end
	}
	if int64(len(f.events)) != state.UniqueProcessed || last > state.LastSeq {
		f.faults = append(f.faults, fmt.Sprintf("%d events up to seq %d, and the state says %+v", len(f.events), last, state))
	}
	return nil
}

// check runs `aggregator check` on a folder that nobody has open.
func check(dir string) error {
	state, faults, err := store.Check(context.Background(), dir)
	if err == nil && len(faults) > 0 {
		err = fmt.Errorf("check: %v", faults)
	}
	if err == nil {
		_, err = journal.Check(filepath.Join(dir, "journal"), state.Journal)
	}
	return err
}
