package profile

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"sekali/bench/labtest/chromiumtest"
)

// browserTimeout bounds the picture in the browser; a start takes a second here.
const browserTimeout = 60 * time.Second

// shownFrames are the frames that are seen, as the user sees them: name, and the left edge and
// width on the drawing of 1200.
const shownFrames = `(() => {
	const svg = document.querySelector("svg"), scale = 1200 / svg.getBoundingClientRect().width, left = svg.getBoundingClientRect().left;
	return [...svg.querySelectorAll(".flame > g")].filter((g) => getComputedStyle(g).display !== "none").map((g) => {
		const box = g.querySelector("rect").getBoundingClientRect();
		return g.dataset.n + " " + Math.round((box.left - left) * scale) + "+" + Math.round(box.width * scale);
	});
})()`

// letters are what stands in the frame of a function.
const letters = `[...document.querySelectorAll(".flame > g")].find((g) => g.dataset.n === %q).querySelector("text").textContent`

// TestFlameZoomsInChromium: a click makes a frame as wide as the picture, keeps the path to it and
// what it called, hides its neighbours, and a click on the first row shows all again.
func TestFlameZoomsInChromium(t *testing.T) {
	chrome, cancel := context.WithTimeout(chromiumtest.Start(t), browserTimeout)
	defer cancel()
	dir := t.TempDir()
	const narrow = "a_function_with_a_name_that_is_longer_than_its_frame"
	stacks(t, filepath.Join(dir, "cpu.pb.gz"), "cpu", "nanoseconds", map[string]int64{
		narrow + "<write": 100, "sync<write": 300, "parse<read": 600})
	if err := writeFlame(dir); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(chrome, chromedp.EmulateViewport(1300, 900),
		chromedp.Navigate("file://"+filepath.ToSlash(filepath.Join(dir, FlameFile)))); err != nil {
		t.Fatal(err)
	}
	all := []string{"all 0+1200", "other 0+1200", "read 0+720", "parse 0+720", "write 720+480", narrow + " 720+120", "sync 840+360"}
	sees(t, chrome, "at first", all)
	if cut := evaluate[string](t, chrome, fmt.Sprintf(letters, narrow)); cut == narrow || cut == "" {
		t.Errorf("in its narrow frame the name is %q", cut)
	}
	click(t, chrome, "write")
	sees(t, chrome, "write", []string{"all 0+1200", "other 0+1200", "write 0+1200", narrow + " 0+300", "sync 300+900"})
	click(t, chrome, narrow)
	sees(t, chrome, "its first callee", []string{"all 0+1200", "other 0+1200", "write 0+1200", narrow + " 0+1200"})
	if whole := evaluate[string](t, chrome, fmt.Sprintf(letters, narrow)); whole != narrow {
		t.Errorf("in a frame as wide as the picture the name is %q", whole)
	}
	click(t, chrome, "all")
	sees(t, chrome, "all again", all)
}

func sees(t *testing.T, chrome context.Context, when string, want []string) {
	t.Helper()
	got := evaluate[[]string](t, chrome, shownFrames)
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q\nwant %q", when, got, want)
	}
}

// click presses the mouse in the middle of a function's frame.
func click(t *testing.T, chrome context.Context, function string) {
	t.Helper()
	at := evaluate[[]float64](t, chrome, fmt.Sprintf(`(() => {
		const box = [...document.querySelectorAll(".flame > g")].find((g) => g.dataset.n === %q).querySelector("rect").getBoundingClientRect();
		return [box.left + box.width / 2, box.top + box.height / 2];
	})()`, function))
	if err := chromedp.Do(chrome, chromedp.MouseClickXY(at[0], at[1])); err != nil {
		t.Fatal(err)
	}
}

func evaluate[T any](t *testing.T, chrome context.Context, script string) T {
	t.Helper()
	value, err := chromedp.Run(chrome, chromedp.Evaluate[T](script))
	if err != nil {
		t.Fatal(err)
	}
	return value
}
