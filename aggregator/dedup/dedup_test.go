package dedup

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dchest/siphash"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"sekali/internal/memorydir"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// database is what an index rests on: the events, the list of runs, and transactions of both.
type database struct {
	dir    string
	events []stored // by seq
	runs   []Run
	last   int64
	config Config // but for the database's part
}

type event struct {
	topic, id string
	content   Content
}

type stored struct {
	seq int64
	event
}

func (d *database) open() (*Index, error) {
	c := d.config
	c.Dir, c.Runs, c.Last, c.Events = d.dir, slices.Clone(d.runs), d.last, d.scan
	return Open(c)
}

func (d *database) check() ([]string, error) {
	c := d.config
	c.Dir, c.Runs, c.Last, c.Events = d.dir, d.runs, d.last, d.scan
	return Check(c)
}

func (d *database) scan(from, to int64, each func(seq int64, topic, id string, content Content) error) error {
	for _, e := range d.events {
		if e.seq >= from && e.seq <= to {
			if err := each(e.seq, e.topic, e.id, e.content); err != nil {
				return err
			}
		}
	}
	return nil
}

// apply commits a batch as the writer does, and returns the seqs that the index gave.
func (d *database) apply(x *Index, batch []event) ([]int64, error) {
	first := d.last + 1
	asked := x.NewBatch()
	for _, b := range batch {
		asked.Add(b.topic, b.id, b.content)
	}
	seqs, err := x.Decide(asked, first)
	if err != nil {
		return nil, err
	}
	changes := x.Changes()
	isNew := make([]bool, len(batch))
	for i, seq := range seqs {
		if isNew[i] = seq == first+int64(i); isNew[i] {
			d.events = append(d.events, stored{seq, batch[i]})
		}
	}
	for _, c := range changes {
		d.runs = slices.DeleteFunc(d.runs, func(r Run) bool { return slices.Contains(c.Remove, r) })
		d.runs = append(d.runs, c.Add...)
	}
	slices.SortFunc(d.runs, func(a, b Run) int { return int(a.First - b.First) })
	d.last += int64(len(batch))
	x.Committed(isNew, d.last, changes)
	return slices.Clone(seqs), nil
}

// Half as many histories as usual, for each opens folders and syncs: with the race detector they
// took most of the package's minute. -rapid.checks has the last word.
func init() { _ = flag.Set("rapid.checks", "50") }

// TestIndexAgainstAMap applies random batches with a hash that collides all the time, so that keys
// and not hashes must decide; between them the index is closed, as a crash would leave it, or loses
// or finds damaged what it had written.
func TestIndexAgainstAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := memorydir.Make("dedup")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		bits := rapid.IntRange(1, 20).Draw(t, "bits of the hash")
		d := &database{dir: dir, config: Config{MemtableKeys: rapid.IntRange(1, 40).Draw(t, "newest"), hasher: weakHasher(bits)}}
		x, err := d.open()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { x.Close() }()
		model := map[[2]string]stored{}
		ids := rapid.IntRange(1, 3000).Draw(t, "ids")
		for range rapid.IntRange(1, 40).Draw(t, "batches") {
			random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "batch"), 0))
			batch := make([]event, random.IntN(200))
			for i := range batch {
				n := random.IntN(ids)
				batch[i] = event{fmt.Sprint("t", n%3), identity(n), Content(random.IntN(3))}
			}
			first := d.last + 1
			seqs, err := d.apply(x, batch)
			if err != nil {
				t.Fatal(err)
			}
			var conflicts []int
			for i, b := range batch {
				want, known := model[[2]string{b.topic, b.id}]
				if !known {
					want = stored{first + int64(i), b}
					model[[2]string{b.topic, b.id}] = want
				}
				if seqs[i] != want.seq {
					t.Fatalf("row %d %v: stored under %d, want %d (known before: %v)", i, b, seqs[i], want.seq, known)
				}
				if b.content != want.content && b.content != 0 && want.content != 0 {
					conflicts = append(conflicts, i)
				}
			}
			if got := x.Conflicts(); !slices.Equal(got, conflicts) {
				t.Fatalf("conflicts %v, want %v", got, conflicts)
			}
			if faults, err := d.check(); err != nil || len(faults) > 0 {
				t.Fatalf("check: %q, %v", faults, err)
			}
			if what := rapid.SampledFrom([]string{"", "", "", "reopen", "lose", "damage"}).Draw(t, "then"); what != "" {
				if err := x.Close(); err != nil {
					t.Fatal(err)
				}
				harm(t, d, what)
				if x, err = d.open(); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// weakHasher has hashes of so many bits, the highest. It permutes ids of which the second half says
// all.
type weakHasher int

func (bits weakHasher) text(k []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range k {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h * 0x9e3779b97f4a7c15 >> (64 - bits) << (64 - bits)
}

func (bits weakHasher) permute(prefix, id []byte) {
	binary.BigEndian.PutUint64(id, bits.text(append(slices.Clone(prefix), id...)))
}

// identity is the n-th id: of each form some.
func identity(n int) string {
	switch n % 4 {
	case 1:
		return fmt.Sprintf("%032x", n)
	case 3:
		return fmt.Sprint("e", n)
	}
	return fmt.Sprintf("%08x-0000-4000-8000-%012x", n, n)
}

// harm removes a run's file, or changes a byte that Open looks at.
func harm(t *rapid.T, d *database, what string) {
	if what == "reopen" || len(d.runs) == 0 {
		return
	}
	path := filepath.Join(d.dir, rapid.SampledFrom(d.runs).Draw(t, "run").File)
	if what == "lose" {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		return
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1-rapid.IntRange(0, trailerBytes-1).Draw(t, "byte")] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestBlocksAreFull: no block ends before the next entry does not fit, and the longest entries fit.
func TestBlocksAreFull(t *testing.T) {
	x, err := (&database{dir: t.TempDir(), config: Config{Secret: make([]byte, SecretBytes)}}).open()
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	for _, id := range []func(n int) string{
		identity,
		func(n int) string { return fmt.Sprintf("%0255d", n) },
		func(n int) string { return strings.Repeat("x", n%250) + fmt.Sprint(n) },
	} {
		table := newMemtable(1, 1000, 0)
		for n := range 1000 {
			k, hash := appendKey(x.hasher, nil, strings.Repeat("t", 1+n%255), id(n))
			table.add(hash, k, 1+int64(n)*1e15, 0)
		}
		table.last = 1e18
		r, err := x.writeMemtable(table)
		if err != nil {
			t.Fatal(err)
		}
		var keys int64
		var block blockWriter
		for c := newCursor(r); ; keys++ {
			ended := c.block.remaining == 0
			ok, err := c.advance()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			if ended && keys > 0 {
				if block.add(c.entry, r.First) {
					t.Fatalf("the block before entry %d has room for it", keys)
				}
				block.begin()
			}
			if !block.add(c.entry, r.First) {
				t.Fatalf("entry %d does not fit into its block", keys)
			}
		}
		if keys != 1000 || r.Keys != keys {
			t.Fatalf("%d keys, the run says %d", keys, r.Keys)
		}
		if err := r.file.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTablesAreUsedAgain: the batch that fills a table goes beyond its number of keys, and no table
// may grow for that, which would hold the writer up; and one that has become a run is the next one.
func TestTablesAreUsedAgain(t *testing.T) {
	const keys, batch = 4096, 4096 / 5
	d := &database{dir: t.TempDir(), config: Config{MemtableKeys: keys, Secret: make([]byte, SecretBytes)}}
	x, err := d.open()
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	slots, entries := len(x.memtable.slots), cap(x.memtable.entries)
	tables := map[*memtable]bool{}
	for range 20 * keys / batch {
		filled, ids := x.memtable, make([]event, batch)
		for i := range ids {
			ids[i] = event{"t", identity(int(d.last) + i), 0}
		}
		if _, err := d.apply(x, ids); err != nil {
			t.Fatal(err)
		}
		tables[filled] = true
		if len(filled.slots) != slots || cap(filled.entries) != entries {
			t.Fatalf("with %d keys a table has %d slots and room for %d, and had %d and %d", len(filled.entries), len(filled.slots), cap(filled.entries), slots, entries)
		}
		for x.pending() { // the worker keeps up
			if _, err := d.apply(x, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(tables) != 2 {
		t.Errorf("%d tables were made, want 2", len(tables))
	}
}

// pending says that a table waits to become a run of the list.
func (x *Index) pending() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.immutable) > 0
}

// TestDamagedBlockIsMadeAgain: a block that is not what was written is never taken for an answer,
// neither by a look-up nor by a merge.
func TestDamagedBlockIsMadeAgain(t *testing.T) {
	d := &database{dir: t.TempDir(), config: Config{MemtableKeys: 500, Secret: make([]byte, SecretBytes)}}
	x, err := d.open()
	if err != nil {
		t.Fatal(err)
	}
	batch := make([]event, 1000)
	for i := range batch {
		batch[i] = event{"t", identity(i), 0}
	}
	if _, err := d.apply(x, batch); err != nil {
		t.Fatal(err)
	}
	for len(d.runs) == 0 { // the worker writes it in its own time, the next transaction lists it
		if _, err := d.apply(x, nil); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(filepath.Join(d.dir, d.runs[0].File), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{0xff}, blockBytes/2); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if faults, err := d.check(); err != nil || len(faults) != 1 || !strings.Contains(faults[0], ErrDamaged.Error()) {
		t.Fatalf("check: %q, %v", faults, err)
	}
	if _, err := d.apply(x, batch); !errors.Is(err, ErrDamaged) {
		t.Fatalf("a damaged block was read: %v", err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if x, err = d.open(); err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	seqs, err := d.apply(x, batch)
	if err != nil {
		t.Fatal(err)
	}
	for i, seq := range seqs {
		if seq != int64(i+1) {
			t.Fatalf("row %d: %d", i, seq)
		}
	}
}

// TestRunOfAnOlderVersionIsMadeAgain opens an index on a run as it was before there were contents,
// on one of larger blocks, and on one whose entries were bytes: its keys, three of four numbers,
// are known as ever, with their contents now.
func TestRunOfAnOlderVersionIsMadeAgain(t *testing.T) {
	for _, file := range []string{"version1.run", "version2.run", "version3.run"} {
		t.Run(file, func(t *testing.T) { olderVersionIsMadeAgain(t, filepath.Join("testdata", file)) })
	}
}

func olderVersionIsMadeAgain(t *testing.T, file string) {
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d := &database{dir: t.TempDir(), last: 4, config: Config{Secret: make([]byte, SecretBytes)}, runs: []Run{{File: "old.run", First: 1, Last: 4, Keys: 3}}}
	for i, seq := range []int64{1, 2, 4} {
		d.events = append(d.events, stored{seq, event{"t", fmt.Sprint(i + 1), Content(i + 1)}})
	}
	path := filepath.Join(d.dir, "old.run")
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openRun(d.dir, d.runs[0]); !errors.Is(err, errVersion) {
		t.Fatalf("the file is no run of an older version: %v", err)
	}
	if faults, err := d.check(); err != nil || len(faults) > 0 {
		t.Fatalf("check: %q, %v", faults, err)
	}
	for range 2 { // the second time with the run that was made
		x, err := d.open()
		if err != nil {
			t.Fatal(err)
		}
		seqs, err := d.apply(x, []event{{"t", "1", 1}, {"t", "2", 7}, {"t", "3", 0}, {"t", "3", 8}})
		if err != nil || !slices.Equal(seqs, []int64{1, 2, 4, 4}) || !slices.Equal(x.Conflicts(), []int{1, 3}) {
			t.Fatalf("seqs %v, conflicts %v, %v", seqs, x.Conflicts(), err)
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("the old file is still there: %v", err)
		}
		if _, err := openRun(d.dir, d.runs[0]); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRunThatCannotBeMadeAgain: events that are gone must not make their keys unknown in silence.
// What was made before, or by a start before, is removed: each start would leave as much.
func TestRunThatCannotBeMadeAgain(t *testing.T) {
	d := &database{dir: t.TempDir(), last: 20, config: Config{Secret: make([]byte, SecretBytes), MemtableKeys: 4},
		runs: []Run{{File: "lost.run", First: 1, Last: 10, Keys: 10}, {File: "gone.run", First: 11, Last: 20, Keys: 10}}}
	for seq := int64(1); seq <= 19; seq++ { // of the second, one is missing
		d.events = append(d.events, stored{seq, event{"t", fmt.Sprint(seq), 0}})
	}
	left := filepath.Join(d.dir, "left.run")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	seen := false
	c := d.config
	c.Dir, c.Runs, c.Last = d.dir, d.runs, d.last
	c.Events = func(from, to int64, each func(seq int64, topic, id string, content Content) error) error {
		_, err := os.Stat(left)
		seen = seen || err == nil
		return d.scan(from, to, each)
	}
	if _, err := Open(c); err == nil || !strings.Contains(err.Error(), "gone.run cannot be made again") {
		t.Fatalf("%v", err)
	}
	if seen {
		t.Error("a run was made beside what another start had left")
	}
	if files, err := os.ReadDir(d.dir); err != nil || len(files) > 0 {
		t.Errorf("left are %v, %v", files, err)
	}
}

func TestKeysAreIdentities(t *testing.T) {
	seen := map[string][2]string{}
	texts := []string{"a", "aa", "\x00", "\x01", "\x02", "\x10", strings.Repeat("x", 255), "00112233-4455-6677-8899-aabbccddeeff",
		"00112233-4455-6677-8899-AABBCCDDEEFF", "00112233-4455-6677-8899-aabbccddeef", "00112233445566778899aabbccddeeff",
		"00112233445566778899AABBCCDDEEFF", "00112233-4455-6677-8899aabbccddeeff0", "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"}
	h, err := newHasher(make([]byte, SecretBytes))
	if err != nil {
		t.Fatal(err)
	}
	hashes := map[uint64]bool{}
	for _, topic := range texts {
		for _, id := range texts {
			k, hash := appendKey(h, nil, topic, id)
			if other, ok := seen[string(k)]; ok {
				t.Fatalf("%q and %q %q have one key", other, topic, id)
			}
			seen[string(k)] = [2]string{topic, id}
			if hashes[hash] { // of one id under two topics: who chooses ids could make hashes agree
				t.Errorf("%q %q has another's hash", topic, id)
			}
			hashes[hash] = true
		}
	}
}

var (
	uuidForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	hexForm  = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// TestPackedIDs: an id is packed if it has one of the two forms to the letter, and the packed bytes
// are its digits. Any other is a text, however near it comes, with a dash too many above all.
func TestPackedIDs(t *testing.T) {
	check := func(t rapid.TB, id string) {
		packed, form := packID(id)
		want := byte(textID)
		switch {
		case uuidForm.MatchString(id):
			want = uuidID
		case hexForm.MatchString(id):
			want = hexID
		}
		if form != want || form != textID && hex.EncodeToString(packed[:]) != strings.ReplaceAll(id, "-", "") {
			t.Errorf("%q has form %d and bytes %x, want form %d", id, form, packed, want)
		}
	}
	const uuid = "0f8fad5b-d9cb-469f-a165-70867728950e"
	for at := range uuid { // each byte another, two at a time
		for _, c := range "-0aAg\xff" {
			one := uuid[:at] + string(c) + uuid[at+1:]
			check(t, one)
			for second := range len(one) {
				check(t, one[:second]+"-"+one[second+1:])
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		id := []byte(rapid.StringMatching(`[0-9a-f-]{32}|[0-9a-f-]{36}|[0-9a-f]{8}-[0-9a-f-]{4}-[0-9a-f-]{4}-[0-9a-f-]{4}-[0-9a-f-]{12}`).Draw(t, "id"))
		check(t, string(id))
	})
}

// TestPermutation: what takes an id's place is undone by AES and the prefix's hash alone, so two
// ids never become one.
func TestPermutation(t *testing.T) {
	secret := []byte("0123456789abcdef")
	h, err := newHasher(secret)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		prefix := rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "prefix")
		id := rapid.SliceOfN(rapid.Byte(), packedBytes, packedBytes).Draw(t, "id")
		permuted := slices.Clone(id)
		h.permute(prefix, permuted)
		h.cipher.Decrypt(permuted, permuted)
		binary.LittleEndian.PutUint64(permuted, binary.LittleEndian.Uint64(permuted)^siphash.Hash(h.k0, h.k1, prefix))
		if !slices.Equal(permuted, id) {
			t.Fatalf("%x came back as %x", id, permuted)
		}
	})
}

// TestContents: what differs anywhere differs, also where only the place of a byte does; nothing is
// unknown.
func TestContents(t *testing.T) {
	seen := map[Content][3]string{}
	for _, c := range [][3]string{{"t", "", ""}, {"t", "", "null"}, {"t", "s", ""}, {"ts", "", ""}, {"t", "", "s"}, {"t", "s1", ""}, {"t", "s", "1"}, {"t", "", "s1"}, {"t", "", "1 "}, {"t", "", "1"}} {
		content := ContentOf(c[0], c[1], c[2])
		if other, ok := seen[content]; ok || content == 0 {
			t.Errorf("%q and %q have the content %d", c, other, content)
		}
		seen[content] = c
	}
}
