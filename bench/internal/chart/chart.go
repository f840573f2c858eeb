// Package chart draws the report's pictures as SVG: white background, so that they read on a light
// and on a dark page, colours that remain apart for colour-blind eyes, and the same bytes for the
// same data.
package chart

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

const (
	// width is what a page of GitHub shows without shrinking it.
	width = 8.6 * vg.Inch
	// panelHeight is that of one coordinate system with its axes.
	panelHeight = 1.9 * vg.Inch
	textSize    = vg.Length(10)
	smallSize   = vg.Length(9)
	lineWidth   = vg.Length(1.6)
)

// The palette of Okabe and Ito; series also differ by their dashes.
var (
	colours = []color.Color{
		color.RGBA{0x00, 0x72, 0xb2, 0xff}, // blue
		color.RGBA{0xd5, 0x5e, 0x00, 0xff}, // vermilion
		color.RGBA{0x00, 0x9e, 0x73, 0xff}, // green
		color.RGBA{0xcc, 0x79, 0xa7, 0xff}, // purple
	}
	dashes = [][]vg.Length{nil, {5, 3}, {1.5, 2}, {8, 3, 2, 3}}

	faultColour    = color.RGBA{0xb0, 0x00, 0x20, 0xff}
	faultFill      = color.RGBA{0xf6, 0xdc, 0xe0, 0xff}
	measuredFill   = color.RGBA{0xf0, 0xf4, 0xf8, 0xff}
	boundaryColour = color.RGBA{0xa8, 0xb0, 0xb8, 0xff}
	gridColour     = color.RGBA{0xe2, 0xe5, 0xe9, 0xff}
	textColour     = color.RGBA{0x22, 0x26, 0x2b, 0xff}
)

// newPlot is an empty coordinate system in the house style.
func newPlot(yLabel string) *plot.Plot {
	p := plot.New()
	p.Y.Label.Text = yLabel
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Label.TextStyle.Font.Size = textSize
		axis.Tick.Label.Font.Size = smallSize
		axis.Label.TextStyle.Color, axis.Tick.Label.Color = textColour, textColour
		axis.LineStyle.Color, axis.Tick.LineStyle.Color = boundaryColour, boundaryColour
		setSans(&axis.Label.TextStyle.Font)
		setSans(&axis.Tick.Label.Font)
	}
	p.Title.TextStyle.Font.Size = textSize
	p.Title.TextStyle.Color = textColour
	setSans(&p.Title.TextStyle.Font)
	p.Legend.TextStyle.Font.Size = smallSize
	p.Legend.TextStyle.Color = textColour
	setSans(&p.Legend.TextStyle.Font)
	p.Legend.Top = true
	p.Legend.ThumbnailWidth = 22
	p.Legend.Padding = 6
	p.X.Tick.Marker, p.Y.Tick.Marker = roundTicks{12}, roundTicks{5}
	return p
}

// legendName is a name with room behind it, where a font that is wider than ours may end.
func legendName(name string) string { return name + strings.Repeat(" ", 1+len(name)/4) }

func setSans(f *font.Font) { f.Typeface, f.Variant = "Liberation", "Sans" }

// svg draws the plots below each other, their axes aligned.
func svg(plots []*plot.Plot, height vg.Length) ([]byte, error) {
	canvas := vgsvg.New(width, height)
	dc := draw.New(canvas)
	grid := make([][]*plot.Plot, len(plots))
	for i := range plots {
		grid[i] = []*plot.Plot{plots[i]}
	}
	tiles := draw.Tiles{Rows: len(plots), Cols: 1, PadTop: 6, PadBottom: 4, PadLeft: 4, PadRight: 14, PadY: 8}
	for i, row := range plot.Align(grid, tiles, dc) {
		plots[i].Draw(row[0])
	}
	var text bytes.Buffer
	if _, err := canvas.WriteTo(&text); err != nil {
		return nil, fmt.Errorf("chart: %w", err)
	}
	// The same letter widths wherever Liberation is not installed.
	const family = "Liberation Sans"
	out := strings.ReplaceAll(text.String(), "font-family:"+family, "font-family:'"+family+"',Arial,Helvetica,sans-serif")
	return []byte(out), nil
}

// roundTicks are at most most+1 labelled ticks at round values.
type roundTicks struct{ most float64 }

func (r roundTicks) Ticks(low, high float64) []plot.Tick {
	if !(high > low) {
		return []plot.Tick{{Value: low, Label: Number(low)}}
	}
	step := math.Pow(10, math.Floor(math.Log10((high-low)/r.most)))
	for _, factor := range []float64{1, 2, 5, 10} {
		if (high-low)/(step*factor) <= r.most {
			step *= factor
			break
		}
	}
	var ticks []plot.Tick
	for i := math.Ceil(low / step); i*step <= high; i++ {
		ticks = append(ticks, plot.Tick{Value: i * step, Label: Number(i * step)})
	}
	return ticks
}

// Number is x with at most four significant digits, as people read it: 1234567 → "1 235 000",
// 0.01234 → "0.01234".
func Number(x float64) string {
	if x == 0 || math.IsNaN(x) || math.IsInf(x, 0) {
		return strconv.FormatFloat(x+0, 'g', -1, 64)
	}
	if math.Abs(x) < 1e-4 {
		return strconv.FormatFloat(x, 'g', 3, 64)
	}
	decimals := max(0, 3-int(math.Floor(math.Log10(math.Abs(x)))))
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 4, 64), 64)
	if err != nil {
		rounded = x
	}
	text := strconv.FormatFloat(rounded, 'f', decimals, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	whole, fraction, _ := strings.Cut(text, ".")
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "-", whole[1:]
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + " " + whole[i:]
	}
	if fraction != "" {
		whole += "." + fraction
	}
	return sign + whole
}
