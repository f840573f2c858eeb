package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// TestRun lists the test's own binary, which Go has stamped as any other.
func TestRun(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out, again bytes.Buffer
	if err := run([]string{self}, &out); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{self}, &again); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), again.Bytes()) {
		t.Error("the same binary gave two different lists")
	}
	var list bom
	if err := json.Unmarshal(out.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(list.Components), 2+len(info.Deps); got != want {
		t.Errorf("%d components, want %d: the binary, std and its modules", got, want)
	}
	if got, want := list.Components[0].Name, filepath.Base(self); got != want {
		t.Errorf("the first component is %s, want %s", got, want)
	}
	std := "pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go")
	if len(list.Dependencies) != 1 || !slices.Contains(list.Dependencies[0].DependsOn, std) {
		t.Errorf("%+v: want one binary that depends on %s", list.Dependencies, std)
	}
}

func TestContents(t *testing.T) {
	got := contents(&debug.BuildInfo{GoVersion: "go1.26.0", Deps: []*debug.Module{
		{Path: "example.com/a", Version: "v1.0.0", Sum: "h1:a="},
		{Path: "example.com/b", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/c", Version: "v2.0.0", Sum: "h1:c="}},
	}})
	var refs []string
	for _, c := range got {
		refs = append(refs, c.PURL)
	}
	want := []string{"pkg:golang/std@1.26.0", "pkg:golang/example.com/a@v1.0.0", "pkg:golang/example.com/c@v2.0.0"}
	if !slices.Equal(refs, want) {
		t.Errorf("%v, want %v", refs, want)
	}
	if p := got[2].Properties; len(p) != 1 || p[0] != (property{"go:sum", "h1:c="}) {
		t.Errorf("the replacement's properties are %v", p)
	}
}

func TestRefusals(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain.txt")
	if err := os.WriteFile(plain, []byte("no binary"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{nil, {plain}, {plain + ".missing"}} {
		var out bytes.Buffer
		err := run(args, &out)
		if err == nil || out.Len() > 0 {
			t.Errorf("run %v: error %v, output %q: want an error alone", args, err, out.String())
		}
		if len(args) > 0 && err != nil && !strings.Contains(err.Error(), args[0]) {
			t.Errorf("%v does not name %s", err, args[0])
		}
	}
}
