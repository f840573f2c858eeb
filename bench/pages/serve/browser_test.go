package serve

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"sekali/bench/labtest/chromiumtest"
	"sekali/bench/labtest/resulttest"
	"sekali/bench/pages/report"
)

const (
	// browserTimeout bounds one page in the browser; a start takes a second here.
	browserTimeout = 60 * time.Second
	// screenshotsVariable names a folder that gets a picture of each page, for people to look at.
	screenshotsVariable = "SEKALI_SCREENSHOTS"
)

// view is one way in which people look at a page.
type view struct {
	name          string
	width, height int64
	scheme        string
}

var views = []view{
	{"desktop-light", 1280, 900, "light"},
	{"desktop-dark", 1280, 900, "dark"},
	{"phone-light", 375, 740, "light"},
	{"phone-dark", 375, 740, "dark"},
}

// seen is what a page did while it was open.
type seen struct {
	foreign func(url string) bool // a request that the page must not make

	mu       sync.Mutex
	requests []string // foreign ones
	errors   []string
}

func (s *seen) listen(event any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, "data:") && s.foreign(e.Request.URL) {
			s.requests = append(s.requests, e.Request.URL)
		}
	case *runtime.EventExceptionThrown:
		said := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			said += " " + e.ExceptionDetails.Exception.Description
		}
		s.errors = append(s.errors, said)
	case *runtime.EventConsoleAPICalled:
		s.errors = append(s.errors, fmt.Sprintf("console.%s", e.Type))
	case *log.EventEntryAdded:
		s.errors = append(s.errors, fmt.Sprintf("%s: %s (%s)", e.Entry.Level, e.Entry.Text, e.Entry.URL))
	}
}

// open loads a page in a tab of its own and returns what it does from then on; foreign tells its
// requests.
func open(t *testing.T, parent context.Context, v view, url string, foreign func(string) bool) (context.Context, *seen) {
	t.Helper()
	s := &seen{foreign: foreign}
	tab, cancel := chromedp.NewContext(parent, chromedp.WithListener(s.listen))
	t.Cleanup(cancel)
	if err := chromedp.Do(tab); err != nil {
		t.Fatal(err)
	}
	tab, cancelTime := context.WithTimeout(tab, browserTimeout)
	t.Cleanup(cancelTime)
	_, err1 := chromedp.Call(tab, network.Enable, network.EnableParams{})
	_, err2 := chromedp.Call(tab, log.Enable, cdp.Empty{})
	_, err3 := chromedp.Call(tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: v.scheme}}})
	err := chromedp.Do(tab, chromedp.EmulateViewport(v.width, v.height), chromedp.Navigate(url))
	if err := errors.Join(err1, err2, err3, err); err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	return tab, s
}

// settle fails for what a page must not do, takes its picture, and looks at what holds for every
// page: it fits the screen, and its background is that of the colour scheme.
func settle(t *testing.T, tab context.Context, v view, name string, s *seen) {
	t.Helper()
	if !evaluate[bool](t, tab, `document.documentElement.scrollWidth <= innerWidth`) {
		t.Errorf("%s, %s: wider than the screen", name, v.name)
	}
	background := evaluate[string](t, tab, `getComputedStyle(document.body).backgroundColor`)
	if want := map[string]string{"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 29)"}[v.scheme]; background != want {
		t.Errorf("%s, %s: the background is %s, expected %s", name, v.name, background, want)
	}
	if dir := os.Getenv(screenshotsVariable); dir != "" {
		picture, err := chromedp.Run(tab, chromedp.FullScreenshot(100))
		if err := errors.Join(err, os.WriteFile(filepath.Join(dir, name+"-"+v.name+".png"), picture, 0o644)); err != nil {
			t.Error(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.errors) > 0 || len(s.requests) > 0 {
		t.Errorf("%s, %s: errors %q, requests %q", name, v.name, s.errors, s.requests)
	}
}

func evaluate[T any](t *testing.T, tab context.Context, script string) T {
	t.Helper()
	value, err := chromedp.Run(tab, chromedp.Evaluate[T](script))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// drawn is what a canvas shows: how many of its pixels are painted, in how many colours, and a hash
// of them all.
type drawn struct {
	Width, Height, Painted, Colours int
	Hash                            int
}

// pixelsOf reads a copy: reading a canvas itself again and again makes Chromium warn, and draw it
// elsewhere.
const pixelsOf = `const pixelsOf = (canvas) => {
	const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
	copy.drawImage(canvas, 0, 0);
	return new Uint32Array(copy.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
};`

const lookAtCanvases = `(() => { ` + pixelsOf + `
	return [...document.querySelectorAll("canvas")].map((canvas) => {
		let painted = 0, hash = 0;
		const colours = new Set();
		for (const p of pixelsOf(canvas)) { if (p) { painted++; colours.add(p); } hash = (Math.imul(hash, 31) + p) | 0; }
		return { Width: canvas.width, Height: canvas.height, Painted: painted, Colours: colours.size, Hash: hash };
	});
})()`

// linesDrawn says of each chart whether the colours of its series are on its canvas.
const linesDrawn = `(() => { ` + pixelsOf + `
	const style = getComputedStyle(document.documentElement);
	const colour = (k) => { const c = document.createElement("canvas"); c.getContext("2d").fillStyle = style.getPropertyValue("--series" + k).trim();
		c.getContext("2d").fillRect(0, 0, c.width, c.height); return pixelsOf(c)[0]; };
	return [...document.querySelectorAll("canvas")].map((canvas, i) =>
		run.charts[i].names.map((_, k) => pixelsOf(canvas).includes(colour(k + 1))));
})()`

func canvases(t *testing.T, tab context.Context) []drawn {
	t.Helper()
	twoFrames(t, tab)
	return evaluate[[]drawn](t, tab, lookAtCanvases)
}

// twoFrames waits for what uPlot does in a microtask or in the next frame.
func twoFrames(t *testing.T, tab context.Context) {
	t.Helper()
	_, err := chromedp.Run(tab, chromedp.Evaluate[bool](`new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))`,
		chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
}

// TestReportInChromium opens report.html as the file that it is, and through this server.
func TestReportInChromium(t *testing.T) {
	chrome := chromiumtest.Start(t)
	handler := newHandler(t, results(t))
	server := httptest.NewServer(handler)
	defer server.Close()
	file := "file://" + filepath.ToSlash(filepath.Join(handler.dir, killed, "report.html"))
	for _, v := range views {
		pages := map[string]string{"report": file}
		if v == views[0] {
			pages["report-served"] = server.URL + "/files/" + killed + "/report.html"
		}
		for name, url := range pages {
			tab, s := open(t, chrome, v, url, func(other string) bool { return other != url })
			whole := canvases(t, tab)
			if len(whole) != 3 {
				t.Fatalf("%s, %s: %d canvases", name, v.name, len(whole))
			}
			for i, c := range whole {
				if c.Width < 300 || c.Painted < c.Width*c.Height/100 || c.Colours < 10 {
					t.Errorf("%s, %s: chart %d is empty: %+v", name, v.name, i, c)
				}
			}
			if lines := evaluate[[][]bool](t, tab, linesDrawn); fmt.Sprint(lines) != "[[true true] [true] [true true]]" {
				t.Errorf("%s, %s: lines drawn: %v", name, v.name, lines)
			}
			settle(t, tab, v, name, s)
			// The buttons zoom in and out again.
			press(t, tab, "sigkill")
			for i, c := range canvases(t, tab) {
				if c.Hash == whole[i].Hash {
					t.Errorf("%s, %s: zooming did nothing to chart %d", name, v.name, i)
				}
			}
			settle(t, tab, v, name+"-zoomed", s)
			press(t, tab, "whole run")
			for i, c := range canvases(t, tab) {
				if c.Hash != whole[i].Hash {
					t.Errorf("%s, %s: chart %d is not the whole again", name, v.name, i)
				}
			}
		}
	}
}

// TestDragZoomsInChromium: what is dragged over becomes the whole width of every chart, and a
// double click shows the whole run again.
func TestDragZoomsInChromium(t *testing.T) {
	chrome := chromiumtest.Start(t)
	file := "file://" + filepath.ToSlash(filepath.Join(newHandler(t, results(t)).dir, killed, "report.html"))
	tab, _ := open(t, chrome, views[0], file, func(other string) bool { return other != file })
	whole := canvases(t, tab)
	begin, from, to, end := secondsAt(t, tab, 0.01), secondsAt(t, tab, 0.4), secondsAt(t, tab, 0.7), secondsAt(t, tab, 0.99)
	if begin >= from || from >= to || to >= end {
		t.Fatalf("the whole shows %v, %v, %v and %v s from left to right", begin, from, to, end)
	}
	x0, y := overChart(t, tab, 0.4)
	x1, _ := overChart(t, tab, 0.7)
	if err := chromedp.Do(tab, chromedp.MouseEvent(chromedp.MouseMoved, x0, y), chromedp.MouseEvent(chromedp.MousePressed, x0, y, chromedp.ButtonLeft),
		chromedp.MouseEvent(chromedp.MouseMoved, x1, y, chromedp.ButtonLeft), chromedp.MouseEvent(chromedp.MouseReleased, x1, y, chromedp.ButtonLeft)); err != nil {
		t.Fatal(err)
	}
	for i, c := range canvases(t, tab) {
		if c.Hash == whole[i].Hash {
			t.Errorf("dragging did nothing to chart %d", i)
		}
	}
	// The legend shows the nearest sample, of which there are about ten a second.
	if left, right := secondsAt(t, tab, 0.01), secondsAt(t, tab, 0.99); math.Abs(left-from) > 0.3 || math.Abs(right-to) > 0.3 {
		t.Errorf("dragged from %v to %v s, and the chart shows %v to %v s", from, to, left, right)
	}
	if err := chromedp.Do(tab, chromedp.MouseClickXY(x0, y, chromedp.ClickCount(2))); err != nil {
		t.Fatal(err)
	}
	twoFrames(t, tab)
	if left, right := secondsAt(t, tab, 0.01), secondsAt(t, tab, 0.99); left != begin || right != end {
		t.Errorf("after a double click the chart shows %v to %v s, the whole is %v to %v s", left, right, begin, end)
	}
}

// overChart is a point of the screen in the middle of the first chart's height, at that share of
// its width.
func overChart(t *testing.T, tab context.Context, share float64) (x, y float64) {
	t.Helper()
	box := evaluate[[]float64](t, tab, `(() => {
		const over = document.querySelector(".u-over");
		over.scrollIntoView({ block: "center" });
		const box = over.getBoundingClientRect();
		return [box.left, box.top, box.width, box.height];
	})()`)
	return box[0] + share*box[2], box[1] + box[3]/2
}

// secondsAt moves the mouse there and returns the time that the legend shows.
func secondsAt(t *testing.T, tab context.Context, share float64) float64 {
	t.Helper()
	x, y := overChart(t, tab, share)
	if err := chromedp.Do(tab, chromedp.MouseEvent(chromedp.MouseMoved, x, y)); err != nil {
		t.Fatal(err)
	}
	twoFrames(t, tab)
	text := evaluate[string](t, tab, `document.querySelector(".u-legend .u-value").textContent`)
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatalf("the legend shows %q: %v", text, err)
	}
	return seconds
}

// namesWritten draws the charts once more and returns the box of each phase's and fault's name: its
// canvas, left, top, right and bottom.
const namesWritten = `(() => {
	const boxes = [], write = CanvasRenderingContext2D.prototype.fillText;
	CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
		if (run.spans.some((span) => span.Name === text)) {
			boxes.push([[...document.querySelectorAll("canvas")].indexOf(this.canvas), x, y, x + this.measureText(text).width, y + parseFloat(this.font), this.canvas.width]);
		}
		return write.apply(this, arguments);
	};
	[...document.querySelectorAll("button")].find((b) => b.textContent === "whole run").click();
	return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {
		CanvasRenderingContext2D.prototype.fillText = write;
		done(boxes);
	})));
})()`

// TestPhaseNamesInChromium: on a phone a stretch may be narrower than its name, which is read all
// the same: a warm-up, a fault and what lies at the right edge.
func TestPhaseNamesInChromium(t *testing.T) {
	chrome := chromiumtest.Start(t)
	dir := t.TempDir()
	model := resulttest.Model{Scenario: "kill", Ack: "journal", Rate: 50, Measured: 20 * time.Second, EventsPerS: 4000,
		Kill: 20900 * time.Millisecond, Down: 50 * time.Millisecond}
	if err := errors.Join(resulttest.Write(dir, model), report.WritePage(dir)); err != nil {
		t.Fatal(err)
	}
	file := "file://" + filepath.ToSlash(filepath.Join(dir, "report.html"))
	tab, _ := open(t, chrome, view{"phone", 390, 740, "light"}, file, func(other string) bool { return other != file })
	boxes, err := chromedp.Run(tab, chromedp.Evaluate[[][6]float64](namesWritten, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	if len(boxes) != 9 {
		t.Errorf("%d names in three charts of three stretches each", len(boxes))
	}
	for i, a := range boxes {
		if a[3] > a[5] {
			t.Errorf("chart %v: a name ends at %v, the canvas at %v", a[0], a[3], a[5])
		}
		for _, b := range boxes[i+1:] {
			if a[0] == b[0] && a[1] < b[3] && b[1] < a[3] && a[2] < b[4] && b[2] < a[4] {
				t.Errorf("chart %v: the names at %v and %v overlap", a[0], a[1:5], b[1:5])
			}
		}
	}
}

func press(t *testing.T, tab context.Context, label string) {
	t.Helper()
	script := fmt.Sprintf(`(() => { const b = [...document.querySelectorAll("button")].find((b) => b.textContent === %q); if (b) b.click(); return !!b; })()`, label)
	if !evaluate[bool](t, tab, script) {
		t.Fatalf("no button %q", label)
	}
}

// TestServedPagesInChromium walks as a person does: the list, a choice of two, their comparison, a
// folder.
func TestServedPagesInChromium(t *testing.T) {
	chrome := chromiumtest.Start(t)
	server := httptest.NewServer(newHandler(t, results(t)))
	defer server.Close()
	ours := func(url string) bool { return !strings.HasPrefix(url, server.URL+"/") }
	for _, v := range views {
		tab, s := open(t, chrome, v, server.URL+"/", ours)
		settle(t, tab, v, "list", s)
		if err := chromedp.Do(tab,
			chromedp.Click(chromedp.CSS(`input[name="a"][value="`+burst+`"]`)),
			chromedp.Click(chromedp.CSS(`input[name="b"][value="`+killed+`"]`)),
			chromedp.Click(chromedp.CSS("button")),
			chromedp.WaitVisible(chromedp.CSS("figure img")),
		); err != nil {
			t.Fatal(err)
		}
		heading := evaluate[string](t, tab, `document.querySelector("h1").textContent`)
		width := evaluate[int](t, tab, `document.querySelector("img").naturalWidth`)
		if heading != "B against A: not enough evidence" || width < 300 {
			t.Errorf("%s: heading %q, a picture of %d pixels", v.name, heading, width)
		}
		settle(t, tab, v, "compare", s)
		if err := chromedp.Do(tab, chromedp.Navigate(server.URL+"/files/"+burst+"/")); err != nil {
			t.Fatal(err)
		}
		settle(t, tab, v, "folder", s)
	}
}

// TestBrowserSeesMistakes is the control: a page that asks for something, one that fails and one
// that draws nothing are seen to do so.
func TestBrowserSeesMistakes(t *testing.T) {
	chrome := chromiumtest.Start(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "bad.html")
	text := `<!doctype html><body><canvas></canvas><img src="http://127.0.0.1:1/spy.png"><script>setTimeout(() => { throw new Error("broken"); })</script>`
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	url := "file://" + filepath.ToSlash(path)
	tab, s := open(t, chrome, views[0], url, func(other string) bool { return other != url })
	blank := canvases(t, tab)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(blank) != 1 || blank[0].Painted != 0 || len(s.requests) != 1 || !strings.Contains(strings.Join(s.errors, " "), "broken") {
		t.Errorf("canvases %+v, requests %q, errors %q", blank, s.requests, s.errors)
	}
}
