package experiment

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWhereAndWhen: the commit is that of the build, wherever the lab runs.
func TestWhereAndWhen(t *testing.T) {
	t.Chdir(t.TempDir())
	for version, want := range map[string]string{"v0.1-3-gabc": "v0.1-3-gabc", "": "unknown"} {
		if _, _, commit := WhereAndWhen(version); commit != want {
			t.Errorf("%q: %q", version, commit)
		}
	}
}

// TestAnew: a folder that is not the command's own keeps what it has.
func TestAnew(t *testing.T) {
	for name, test := range map[string]struct {
		holds []string // files and folders, which end with a slash; nil: there is no folder
		made  bool
	}{
		"not there":       {nil, true},
		"empty":           {[]string{}, true},
		"its own":         {[]string{"figures.json", "others.txt"}, true},
		"its folders":     {[]string{"one/"}, true},
		"somebody else's": {[]string{"letters.txt"}, false},
		"figures within":  {[]string{"deeper/", "deeper/figures.json"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "out")
			if test.holds != nil {
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for _, entry := range test.holds {
				path := filepath.Join(dir, entry)
				make := func() error { return os.WriteFile(path, nil, 0o644) }
				if strings.HasSuffix(entry, "/") {
					make = func() error { return os.Mkdir(path, 0o755) }
				}
				if err := make(); err != nil {
					t.Fatal(err)
				}
			}
			err := Anew(dir, "figures.json", "one")
			left, readErr := os.ReadDir(dir)
			if (err == nil) != test.made || readErr != nil || (len(left) == 0) != test.made {
				t.Errorf("%v, left %v, %v", err, left, readErr)
			}
		})
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Anew(file, "figures.json"); err == nil {
		t.Error("a file was taken for a folder")
	}
}
