package record

import (
	"fmt"
	"path/filepath"
)

// SendersFile is what `make senders-test` leaves behind.
const SendersFile = "senders.json"

// Senders are other programs' senders, and what became of the events of each.
type Senders struct {
	Format  int      `json:"format"`
	Commit  string   `json:"commit"`
	Date    string   `json:"date"`
	Senders []Sender `json:"senders"`
}

// Sender is one trial: some answers are lost, the aggregator is killed, the sender started again.
type Sender struct {
	Sender      string `json:"sender"`
	Version     string `json:"version"`
	Protocol    string `json:"protocol"`
	Sent        int    `json:"sent"`
	Stored      int    `json:"stored"` // once
	Duplicates  int    `json:"duplicates_dropped"`
	Lost        int    `json:"lost"`
	Drops       bool   `json:"drops"` // the sender does not keep what it could not send
	Kills       int    `json:"kills"`
	AnswersLost int    `json:"answers_lost"`
	Restarts    int    `json:"sender_restarts"`
}

// ReadSenders reads the file in dir. What a sender sent is stored or lost; only one that drops may
// have lost some.
func ReadSenders(dir string) (Senders, error) {
	var s Senders
	path := filepath.Join(dir, SendersFile)
	if err := ReadJSON(path, &s); err != nil {
		return s, err
	}
	for _, one := range s.Senders {
		if one.Stored+one.Lost != one.Sent || one.Lost > 0 && !one.Drops {
			return s, fmt.Errorf("record: %s: %s: %d sent, %d stored, %d lost", path, one.Sender, one.Sent, one.Stored, one.Lost)
		}
	}
	return s, CheckFormat(path, s.Format)
}

// WriteSenders writes the file into dir.
func WriteSenders(dir string, s Senders) error {
	s.Format = Format
	return WriteJSON(filepath.Join(dir, SendersFile), s)
}
