package report

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"sekali/bench/record"
)

// senders is what `make senders-test` counted, for the template.
type senders struct{ record.Senders }

// readSenders returns the senders of the reference; nil if it has none.
func readSenders(reference string) (*senders, error) {
	s, err := record.ReadSenders(reference)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return &senders{s}, err
}

// Table is one row a sender, with what was done to it.
func (s *senders) Table() string {
	var text strings.Builder
	text.WriteString("| sender | version | protocol | sent | stored once | duplicates dropped | lost | answers lost | kills | restarts of the sender |\n" +
		"|---|---|---|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, one := range s.Senders.Senders {
		fmt.Fprintf(&text, "| %s | %s | %s | %s |\n", cell(one.Sender), cell(one.Version), cell(one.Protocol),
			counts(one.Sent, one.Stored, one.Duplicates, one.Lost, one.AnswersLost, one.Kills, one.Restarts))
	}
	return text.String()
}

// Short is one row a sender, with what became of its events.
func (s *senders) Short() string {
	var text strings.Builder
	text.WriteString("| sender | sent | stored once | duplicates dropped | lost |\n|---|---:|---:|---:|---:|\n")
	for _, one := range s.Senders.Senders {
		fmt.Fprintf(&text, "| %s | %s |\n", cell(one.Sender), counts(one.Sent, one.Stored, one.Duplicates, one.Lost))
	}
	return text.String()
}

// Dropping are the names of the senders that do not keep what they could not send.
func (s *senders) Dropping() string {
	var names []string
	for _, one := range s.Senders.Senders {
		if one.Drops {
			names = append(names, one.Sender)
		}
	}
	return strings.Join(names, ", ")
}

// counts are cells of a table.
func counts(all ...int) string {
	cells := make([]string, len(all))
	for i, n := range all {
		cells[i] = exact(uint64(n))
	}
	return strings.Join(cells, " | ")
}
