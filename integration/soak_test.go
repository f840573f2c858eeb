package integration_test

import (
	"path/filepath"
	"testing"
	"time"

	"sekali/bench/experiment/soak"
	"sekali/bench/figures"
	"sekali/bench/record"
)

// TestSoak is the soak cut short, at a tenth of its rate: nothing is lost, and its trends say
// nothing.
func TestSoak(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	left, err := soak.Run(t.Context(), soak.Config{Aggregator: binary, Lasts: 8 * time.Second, Rate: soak.FullRate / 10, Dir: dir, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	written, err := soak.Write(dir, left)
	if err == nil {
		left, err = record.ReadSoak(filepath.Join(dir, record.SoakFile))
	}
	if err != nil {
		t.Fatal(err)
	}
	found, err := figures.Soak(left)
	if err != nil {
		t.Fatal(err)
	}
	if found.Lost+found.Duplicated+found.Unexpected > 0 || len(found.Broken) > 0 || found.Acknowledged == 0 || len(found.KillsS) != soak.Kills {
		t.Errorf("of %d events acknowledged %d were lost, %d are stored twice, %d unexpected; %d kills; %q",
			found.Acknowledged, found.Lost, found.Duplicated, found.Unexpected, len(found.KillsS), found.Broken)
	}
	if len(written.Windows) != len(found.Windows) || len(found.Windows) == 0 {
		t.Errorf("%d windows written, %d recomputed", len(written.Windows), len(found.Windows))
	}
}
