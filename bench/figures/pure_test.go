package figures_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Figures follow from what they are given: the package opens no file, starts nothing, and asks no
// clock.
func TestPure(t *testing.T) {
	list := exec.Command("go", "list", "-f", `{{join .Imports "\n"}}`, ".")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	imports := strings.Fields(string(out))
	for _, bad := range []string{"os", "io", "io/fs", "net", "net/http", "os/exec", "time", "math/rand", "math/rand/v2", "path/filepath"} {
		if slices.Contains(imports, bad) {
			t.Errorf("figures import %s", bad)
		}
	}
	if len(imports) == 0 {
		t.Error("no imports at all: the test looks in the wrong place")
	}
}
