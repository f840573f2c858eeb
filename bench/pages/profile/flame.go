package profile

import (
	"bytes"
	_ "embed"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/pprof/profile"
)

// FlameFile is the flame graph's name in the folder of the profiles.
const FlameFile = "flame.svg"

const (
	flameWidth = 1200 // of the drawing's own units; it fills the width it is given
	flameRow   = 17
	// flameLeast is the share below which a frame is left out: a tenth of what can carry a letter.
	flameLeast = 0.001
	flameGlyph = 6.2 // the width of a letter, for what fits into a frame
)

//go:embed flame.js
var flameScript string

// frame is one function on one path from the root; its value includes its children's.
type frame struct {
	name     string
	value    int64
	children []*frame
}

// child returns the child of that name, made if need be.
func (f *frame) child(name string) *frame {
	for _, c := range f.children {
		if c.name == name {
			return c
		}
	}
	c := &frame{name: name}
	f.children = append(f.children, c)
	return c
}

// writeFlame draws the CPU profile of a folder beside it; a folder without one gets none.
func writeFlame(dir string) error {
	p, at, err := readCPU(dir)
	if err != nil || p == nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, FlameFile), flame(p, at), 0o644); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	return nil
}

// Flame returns the flame graph of a folder's CPU profile: an SVG that needs nothing else. nil: it
// has none.
func Flame(dir string) ([]byte, error) {
	p, at, err := readCPU(dir)
	if err != nil || p == nil {
		return nil, err
	}
	return flame(p, at), nil
}

// flame draws the samples by stage and then from the outermost function in. A click on a frame
// makes it as wide as the picture.
func flame(p *profile.Profile, value int) []byte {
	root := &frame{name: "all"}
	for _, s := range p.Sample {
		names := stack(s)
		slices.Reverse(names)
		v := s.Value[value]
		root.value += v
		f := root.child(stageOf(s))
		f.value += v
		for _, name := range names {
			f = f.child(short(name))
			f.value += v
		}
	}
	var frames bytes.Buffer
	depth := draw(&frames, root, root, 0, 0, 0)
	var out bytes.Buffer
	height := (depth + 1) * flameRow
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="100%%" role="img" aria-label="Flame graph of the CPU time by stage">`+"\n", flameWidth, height)
	out.WriteString(`<style>.flame text{font:11px ui-monospace,monospace;fill:#111;pointer-events:none}.flame rect{stroke:#fff;stroke-width:.5;cursor:pointer}@media(prefers-color-scheme:dark){.flame rect{stroke:#222}}</style>` + "\n")
	out.WriteString("<g class=\"flame\">\n")
	out.Write(frames.Bytes())
	fmt.Fprintf(&out, "</g>\n<script>//<![CDATA[\n%s//]]></script>\n</svg>\n", flameScript)
	return out.Bytes()
}

// draw writes a frame and those below it, from x on, and returns the deepest row.
func draw(w *bytes.Buffer, root, f *frame, x float64, depth, hue int) (deepest int) {
	share := float64(f.value) / float64(max(1, root.value))
	if share < flameLeast {
		return depth
	}
	width := share * flameWidth
	fill := "hsl(0 0% 78%)"
	if depth > 0 {
		fill = fmt.Sprintf("hsl(%d 60%% %d%%)", hue, 74-4*(depth%3))
	}
	name := escape(f.name)
	fmt.Fprintf(w, `<g data-n="%s"><title>%s: %.1f %%</title><rect x="%.2f" y="%d" width="%.2f" height="%d" fill="%s"/><text x="%.2f" y="%d">%s</text></g>`+"\n",
		name, name, 100*share, x, depth*flameRow, width, flameRow, fill, x+3, depth*flameRow+12, escape(fit(f.name, width)))
	deepest = depth
	slices.SortFunc(f.children, func(a, b *frame) int { return strings.Compare(a.name, b.name) })
	for i, c := range f.children {
		if depth == 0 {
			hue = (25 + i*137) % 360 // neighbours in the circle of stages are far apart
		}
		deepest = max(deepest, draw(w, root, c, x, depth+1, hue))
		x += float64(c.value) / float64(max(1, root.value)) * flameWidth
	}
	return deepest
}

// fit cuts a name to what a width can show.
func fit(name string, width float64) string {
	letters := int((width - 6) / flameGlyph)
	if letters < 3 {
		return ""
	}
	if runes := []rune(name); len(runes) > letters {
		return string(runes[:letters-1]) + "…"
	}
	return name
}

// short leaves out the path of a function's package.
func short(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a buffer takes everything
	return b.String()
}
