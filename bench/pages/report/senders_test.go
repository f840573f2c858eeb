package report

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"sekali/bench/record"
)

// syntheticSenders are one that keeps what it could not send, and one that drops it.
func syntheticSenders() record.Senders {
	return record.Senders{Commit: "0000000", Date: "2026-11-23", Senders: []record.Sender{
		{Sender: "Keeper | plugin", Version: "1", Protocol: "bulk", Sent: 3000, Stored: 3000, Duplicates: 700, Kills: 2, AnswersLost: 7, Restarts: 1},
		{Sender: "Dropper", Version: "2", Protocol: "JSON", Sent: 2000, Stored: 1400, Duplicates: 260, Lost: 600, Drops: true, Kills: 2, AnswersLost: 16},
	}}
}

func TestSendersAreShown(t *testing.T) {
	files, err := render(root(t))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		pagesDir + "/senders.md": {`| Keeper \| plugin | 1 | bulk | 3 000 | 3 000 | 700 | 0 | 7 | 2 | 1 |`, "| Dropper | 2 | JSON | 2 000 | 1 400 | 260 | 600 |"},
		reportFile:               {"(results/pages/senders.md)", `| Keeper \| plugin | 3 000 | 3 000 | 700 | 0 |`, "| Dropper | 2 000 | 1 400 | 260 | 600 |", "themselves: Dropper."},
	}
	for _, f := range files {
		for _, text := range want[f.name] {
			if !bytes.Contains(f.text, []byte(text)) {
				t.Errorf("%s has no %q:\n%s", f.name, text, f.text)
			}
		}
		delete(want, f.name)
	}
	if len(want) > 0 {
		t.Errorf("not made: %v", want)
	}
}

func TestSendersMustAddUp(t *testing.T) {
	for _, change := range [][2]string{
		{`"stored": 1400`, `"stored": 1401`}, // more than were sent
		{`"drops": true`, `"drops": false`},  // a loss that nothing explains
	} {
		dir := root(t)
		spoil(t, filepath.Join(dir, filepath.FromSlash(referenceDir), record.SendersFile), func(text []byte) []byte {
			return bytes.Replace(text, []byte(change[0]), []byte(change[1]), 1)
		})
		if same, out := verify(t, dir); same || !strings.Contains(out, "Dropper") {
			t.Errorf("%s: %v\n%s", change[1], same, out)
		}
	}
}
