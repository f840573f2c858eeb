package report

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	soaking "sekali/bench/experiment/soak"
	"sekali/bench/figures"
	"sekali/bench/labtest/recordtest"
	"sekali/bench/record"
)

// writeRecords writes the synthetic faults and soak, and what is computed from them, below
// reference.
func writeRecords(t *testing.T, reference string) {
	t.Helper()
	writeFaults(t, filepath.Join(reference, faultsDir), recordtest.Faults())
	writeFaults(t, filepath.Join(reference, clusterFaultsDir), recordtest.ClusterFaults())
	if _, err := soaking.Write(filepath.Join(reference, soakDir), recordtest.Soak()); err != nil {
		t.Fatal(err)
	}
}

func writeFaults(t *testing.T, dir string, faults []record.Fault) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	found := record.Faults{Date: "2026-11-23T12:00:00Z", Machine: "2 cores", Commit: "0000000", Planned: len(faults)}
	for i, left := range faults {
		left.Sitting = &record.Sitting{Number: i + 1, Of: found.Planned}
		name, err := record.WriteFault(dir, left)
		if err != nil {
			t.Fatal(err)
		}
		row, err := figures.Fault(left)
		if err != nil {
			t.Fatal(err)
		}
		file, err := record.HashFile(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		found.Faults, found.Files = append(found.Faults, row), append(found.Files, file)
	}
	if err := record.WriteFaults(filepath.Join(dir, faultsFile), found); err != nil {
		t.Fatal(err)
	}
}

// rehash writes the hash of a record into the table, as somebody would who wants to hide that it
// was changed.
func rehash(t *testing.T, dir, name string) {
	t.Helper()
	f, err := record.ReadFaults(filepath.Join(dir, faultsFile))
	if err != nil {
		t.Fatal(err)
	}
	for i := range f.Files {
		if f.Files[i].Name == name {
			if f.Files[i], err = record.HashFile(dir, name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := record.WriteFaults(filepath.Join(dir, faultsFile), f); err != nil {
		t.Fatal(err)
	}
}

// A fault's record says what its row says, and one number more or less in it is seen, even if its
// hash is made to fit.
func TestFaultRecordsAreVerified(t *testing.T) {
	changeRecords(t, faultsDir, "sigkill", verifyFaults, map[string]func(*record.Fault){
		"a request more was acknowledged": func(f *record.Fault) { f.Trials[0].Ledger.Rows[0][0]++ },
		"another answer":                  func(f *record.Fault) { f.Trials[0].Ledger.Kinds[0].Status = 503 },
		"an event less is stored":         func(f *record.Fault) { f.Trials[0].Looks[0].Stored.Runs[0][1]-- },
		"a sum of other bytes":            func(f *record.Fault) { f.Trials[0].Looks[0].Stored.Sums[0] = "0123456789abcdef" },
		"another seed":                    func(f *record.Fault) { f.Trials[0].Stream.Seed++ },
		"injected once more":              func(f *record.Fault) { f.Trials[0].Injected++ },
		"recovered sooner":                func(f *record.Fault) { f.Trials[0].RecoveryMS[0]-- },
		"a counter":                       func(f *record.Fault) { f.Trials[0].Looks[0].Counters.Received++ },
	})
}

// TestClusterFaultRecordsAreVerified: so it is with what only a cluster's records have.
func TestClusterFaultRecordsAreVerified(t *testing.T) {
	changeRecords(t, clusterFaultsDir, "sigkill-of-the-log-leader", verifyClusterFaults, map[string]func(*record.Fault){
		"a request more was acknowledged": func(f *record.Fault) { f.Trials[0].Ledger.Rows[0][0]++ },
		"a silence that is longer":        func(f *record.Fault) { f.Trials[0].Outages[0].Levels[1].SilencesNS[0][1] += 20e6 },
		"a silence that is shorter":       func(f *record.Fault) { f.Trials[0].Outages[0].Levels[1].SilencesNS[0][1] -= 20e6 },
		"no silence": func(f *record.Fault) {
			f.Trials[0].Outages[1].Levels[0].SilencesNS = f.Trials[0].Outages[1].Levels[0].SilencesNS[:0]
		},
		"an outage less":       func(f *record.Fault) { f.Trials[0].Outages = f.Trials[0].Outages[:2] },
		"a replica's hash":     func(f *record.Fault) { f.Trials[0].Looks[0].Replicas[2].Hash = "ac" },
		"a replica's position": func(f *record.Fault) { f.Trials[0].Looks[0].Replicas[1].Position++ },
		"injected once more":   func(f *record.Fault) { f.Trials[0].Injected++ },
	})
	changeRecords(t, clusterFaultsDir, "a-trigger-on-one-replica", verifyClusterFaults, map[string]func(*record.Fault){
		"caught once less": func(f *record.Fault) { f.Trials[0].Caught = f.Trials[0].Caught[:1] },
	})
}

// changeRecords changes a record in each way: that has to be seen, also once its hash fits.
func changeRecords(t *testing.T, below, kind string, verify func(string) (int, []error), changes map[string]func(*record.Fault)) {
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			dir := root(t)
			faults := filepath.Join(dir, filepath.FromSlash(referenceDir), below)
			path := filepath.Join(faults, kind+record.Extension)
			left, err := record.ReadFault(path)
			if err != nil {
				t.Fatal(err)
			}
			change(&left)
			if _, err := record.WriteFault(faults, left); err != nil {
				t.Fatal(err)
			}
			if _, differences := verify(filepath.Dir(faults)); len(differences) == 0 {
				t.Error("the change is not seen")
			}
			rehash(t, faults, filepath.Base(path))
			if _, differences := verify(filepath.Dir(faults)); len(differences) == 0 {
				t.Error("the change is not seen once the hash fits")
			}
		})
	}
}

// So is a digit in every line of the table, in every twentieth of the soak's figures, and a bit of
// each record.
func TestFaultsAndSoakFilesAreVerified(t *testing.T) {
	dir := root(t)
	reference := filepath.Join(dir, filepath.FromSlash(referenceDir))
	records, err := filepath.Glob(filepath.Join(reference, "*", "*"+record.Extension))
	if err != nil || len(records) != len(recordtest.Faults())+len(recordtest.ClusterFaults())+1 {
		t.Fatal(records, err)
	}
	for _, path := range records {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		spoil(t, path, func(text []byte) []byte { text[len(text)/2] ^= 1; return text })
		_, faults := verifyFaults(reference)
		_, cluster := verifyClusterFaults(reference)
		_, soak := verifySoak(reference)
		if len(faults)+len(cluster)+len(soak) == 0 {
			t.Errorf("%s: a flipped bit is not seen", path)
		}
		if err := os.WriteFile(path, whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []struct {
		path   string
		every  int // digit is changed; a soak has hundreds of windows
		verify func(string) (int, []error)
	}{{filepath.Join(faultsDir, faultsFile), 1, verifyFaults}, {filepath.Join(clusterFaultsDir, faultsFile), 1, verifyClusterFaults}, {filepath.Join(soakDir, soakFile), 20, verifySoak}} {
		path := filepath.Join(reference, file.path)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		digits := 0
		// The first digit of a line behind the heading, which the faults' table has for itself.
		offset := bytes.Index(whole, []byte(`"commit"`))
		for line := range bytes.Lines(whole[offset:]) {
			at := bytes.IndexAny(line, "0123456789")
			if at >= 0 && !bytes.Contains(line, []byte(`"commit"`)) {
				digits++
			}
			if at >= 0 && !bytes.Contains(line, []byte(`"commit"`)) && digits%file.every == 0 {
				changed := bytes.Clone(whole)
				changed[offset+at] = '0' + (changed[offset+at]-'0'+1)%10
				if err := os.WriteFile(path, changed, 0o644); err != nil {
					t.Fatal(err)
				}
				if _, differences := file.verify(reference); len(differences) == 0 {
					t.Errorf("%s: a changed digit is not seen: %s", file.path, line)
				}
			}
			offset += len(line)
		}
		if err := os.WriteFile(path, whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Verify speaks of a fault's record and of the soak's.
func TestVerifyReadsTheRecords(t *testing.T) {
	for _, name := range []string{filepath.Join(faultsDir, "sigkill"+record.Extension), filepath.Join(clusterFaultsDir, "one-copy-of-the-log"+record.Extension), filepath.Join(soakDir, record.SoakFile)} {
		dir := root(t)
		spoil(t, filepath.Join(dir, filepath.FromSlash(referenceDir), name), func(text []byte) []byte { text[len(text)/2] ^= 1; return text })
		if same, out := verify(t, dir); same || !strings.Contains(out, name) {
			t.Errorf("%s is not named:\n%s", name, out)
		}
	}
}

// The survival line in README follows from the records.
func TestSurvivalLineIsVerified(t *testing.T) {
	dir := root(t)
	path := filepath.Join(dir, readmeFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	files, err := render(dir)
	if err != nil {
		t.Fatal(err)
	}
	begin := bytes.Index(whole, []byte("**Faults.**"))
	if begin < 0 {
		t.Fatal("README has no such line")
	}
	digits := 0
	line := whole[begin : begin+bytes.IndexByte(whole[begin:], '\n')]
	for i := begin; i < begin+len(line); i++ {
		if whole[i] < '0' || whole[i] > '9' {
			continue
		}
		digits++
		changed := bytes.Clone(whole)
		changed[i] = '0' + (whole[i]-'0'+1)%10
		if err := os.WriteFile(path, changed, 0o644); err != nil {
			t.Fatal(err)
		}
		differences, err := verifyFiles(dir, files)
		if err != nil || len(differences) != 1 || !strings.HasPrefix(differences[0].Error(), readmeFile) {
			t.Errorf("digit %d is not verified: %v, %v", i, differences, err)
		}
	}
	if digits < 6 {
		t.Errorf("the survival line has only %d digits", digits)
	}
}
