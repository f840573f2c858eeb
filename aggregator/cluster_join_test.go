package aggregator

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sekali/aggregator/internal/cluster"
)

// names are those of what a folder has.
func names(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestRefusedJoinGivesBack: a join that is refused leaves of the target what was there before, and
// the next one is refused for the same reason.
func TestRefusedJoinGivesBack(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	alone := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer alone.Close()
	for name, c := range map[string]struct{ from, says string }{
		"no such file":           {filepath.Join(t.TempDir(), "none.db"), "none.db"},
		"an aggregator alone":    {alone.URL, "is no node of a cluster"},
		"nobody is there":        {"http://127.0.0.1:1", "127.0.0.1:1"},
		"a file that is no copy": {text, "the copy of " + text},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			join := func(data string) {
				t.Helper()
				err := ClusterJoin(t.Context(), ClusterConfig{URLs: "nats://127.0.0.1:1", Data: data, From: c.from, Node: "c"}, io.Discard)
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v, want %q", err, c.says)
				}
			}
			for range 2 {
				join(filepath.Join(root, "new", "data"))
				if left := names(t, root); len(left) > 0 {
					t.Fatalf("it has made %v", left)
				}
			}
			empty := filepath.Join(root, "empty")
			if err := os.Mkdir(empty, 0o700); err != nil {
				t.Fatal(err)
			}
			join(empty)
			if left := names(t, empty); len(left) > 0 {
				t.Errorf("an empty folder has %v", left)
			}
			for _, own := range []string{lockFile, "notes.txt"} {
				if err := os.WriteFile(filepath.Join(empty, own), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			join(empty)
			if left := names(t, empty); !slices.Equal(left, []string{lockFile, "notes.txt"}) {
				t.Errorf("a folder that was used before has %v", left)
			}
		})
	}
}

// TestJoinRemovesItsOwnAlone: a join, and a start, remove what a killed join for the same node has
// left, and nothing else: not that of a join that is under way, of another node, or of nobody; nor
// a backup that a person has put there, which the join may have to copy.
func TestJoinRemovesItsOwnAlone(t *testing.T) {
	data := t.TempDir()
	left := func(node string, ended bool) string {
		t.Helper()
		dir, remove, err := makeJoining(data, node)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "events.db"), []byte("a copy"), 0o600); err != nil {
			t.Fatal(err)
		}
		if !ended {
			t.Cleanup(func() { _ = remove() })
			return dir
		}
		killed := dir + "-killed" // as a process leaves it whose locks are gone
		for _, err := range []error{os.Mkdir(killed, 0o700), os.WriteFile(filepath.Join(killed, joiningOf), []byte(node), 0o600), remove()} {
			if err != nil {
				t.Fatal(err)
			}
		}
		return killed
	}
	own, ofFile := left("c", true), left("", true)
	keep := []string{left("c", false), left("b", true), left("b", false), filepath.Join(data, "joining"), filepath.Join(data, "joining-of-mine")}
	for _, dir := range keep[3:] {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	backup := filepath.Join(data, "copy.db")
	if err := os.WriteFile(backup, []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	keep = append(keep, backup)
	err := ClusterJoin(t.Context(), ClusterConfig{URLs: "nats://127.0.0.1:1", Data: data, From: backup, Node: "c"}, io.Discard)
	if err == nil || strings.Contains(err.Error(), "no such file") {
		t.Errorf("the join ended with %v", err)
	}
	for _, path := range keep {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("it was removed: %v", err)
		}
	}
	for _, path := range []string{own, ofFile} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
	if err := removeLeftovers(data, "b"); err != nil {
		t.Error(err)
	}
	for i, path := range keep {
		if _, err := os.Stat(path); os.IsNotExist(err) != (i == 1) {
			t.Errorf("after a start of b, of %v: %v", filepath.Base(path), err)
		}
	}
}

// TestFolderIsTakenOnce: while some give the folder back as it was, and so remove the lock's file,
// nobody has it beside somebody else.
func TestFolderIsTakenOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	var inside, taken atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 300 {
				folder, err := takeFolder(dir)
				if err != nil { // another has it, or has just removed it
					continue
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d have it", n)
				}
				taken.Add(1)
				inside.Add(-1)
				if err := folder.giveBack(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if taken.Load() == 0 {
		t.Error("nobody ever had it")
	}
}

// TestEmptyFolderOfANode: where the log still has all, a node begins anew, and says so. Else the
// command is named that makes it from another.
func TestEmptyFolderOfANode(t *testing.T) {
	const join = "`aggregator cluster join -node b -data /d -from URL`"
	for name, c := range map[string]struct {
		head         cluster.Head
		has          bool
		says, warned string
	}{
		"new cluster":   {head: cluster.Head{First: 1}},
		"begins anew":   {head: cluster.Head{First: 1, Last: 9}, warned: "this node begins anew"},
		"truncated log": {head: cluster.Head{First: 5, Last: 9}, says: join},
		"began with":    {head: cluster.Head{First: 1, Base: 100}, says: join},
		"has events":    {head: cluster.Head{First: 1, Last: 9}, has: true, says: "`aggregator cluster init -data`"},
	} {
		var lines bytes.Buffer
		a := &instance{cfg: Config{Node: "b", Data: "/d"}, log: slog.New(slog.NewTextHandler(&lines, nil))}
		c.head.Nodes = []string{"a", "b"}
		err := a.beginEmpty(c.head, c.has)
		if (err != nil) != (c.says != "") || err != nil && (!errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
		if said := lines.String(); !strings.Contains(said, c.warned) || c.warned == "" && said != "" {
			t.Errorf("%s: it logs %q, want %q", name, said, c.warned)
		}
	}
}
