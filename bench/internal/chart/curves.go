package chart

import (
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// logFrom is the ratio of the largest to the smallest value from which on an axis is logarithmic:
// on a linear one the small values of 1, 10, 100, 1000 would lie on each other.
const logFrom = 20

// crossSize is half of a cross through a mark.
const crossSize = vg.Length(5)

// Curves draws the panels below each other over one axis, which xLabel names: a mark for each
// measured value, joined by lines. X is in the parameter's own unit, rising; NaN in Y leaves a gap.
func Curves(xLabel string, panels []Panel) ([]byte, error) {
	values := allX(panels)
	logarithmic := len(values) > 0 && values[0] > 0 && values[len(values)-1]/values[0] >= logFrom
	return curves(xLabel, panels, valueTicks{values, logarithmic, Number})
}

// Trend draws the panels below each other over what names name, in their order: X is 1 for the
// first of them.
func Trend(xLabel string, names []string, panels []Panel) ([]byte, error) {
	return curves(xLabel, panels, valueTicks{allX(panels), false, func(x float64) string { return names[int(x)-1] }})
}

func curves(xLabel string, panels []Panel, axis valueTicks) ([]byte, error) {
	plots := make([]*plot.Plot, len(panels))
	for i, panel := range panels {
		p := newPlot(panel.Label)
		p.Add(horizontalGrid())
		lines := setHeight(p, panel)
		low, high := p.Y.Min, p.Y.Max
		for j, line := range lines {
			if err := addLine(p, j, line, len(lines) > 1); err != nil {
				return nil, err
			}
			p.Add(marks{line: line, series: j, crossed: panel.Crossed, hollow: panel.Hollow})
		}
		p.X.Tick.Marker = axis
		p.Y.Min, p.Y.Max = low, high // adding a line may have widened it
		setRange(&p.X, axis.values, axis.logarithmic)
		if i == len(panels)-1 {
			p.X.Label.Text = xLabel
		}
		plots[i] = p
	}
	return svg(plots, vg.Length(len(panels))*panelHeight+0.4*vg.Inch)
}

// allX are the values of the parameter that any line has, rising, each once.
func allX(panels []Panel) []float64 {
	var all []float64
	for _, panel := range panels {
		for _, line := range panel.Lines {
			all = append(all, line.X...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// setRange leaves a margin on both sides, for the marks and their labels.
func setRange(axis *plot.Axis, values []float64, logarithmic bool) {
	const margin = 0.04
	if len(values) == 0 {
		axis.Min, axis.Max = 0, 1
		return
	}
	low, high := values[0], values[len(values)-1]
	if logarithmic {
		factor := math.Pow(high/low, margin)
		axis.Scale, axis.Min, axis.Max = plot.LogScale{}, low/factor, high*factor
		return
	}
	room := max((high-low)*margin, math.Abs(high)*1e-3, 1e-9)
	axis.Min, axis.Max = low-room, high+room
}

// setHeight makes the axis begin at zero, or logarithmic where the small values would all look like
// zero; its ticks are then 1, 2, 5, 10, … . It returns the lines as they are to be drawn. A
// logarithmic axis has the logarithms as its values: with plot.LogScale the label would be taken to
// stand at the mean, and half of the panel be kept free for it.
func setHeight(p *plot.Plot, panel Panel) []Line {
	legend := len(panel.Lines) > 1
	p.Y.Min, p.Y.Max = 0, headroom(panel, legend)
	low, high := math.Inf(1), 0.
	for _, line := range panel.Lines {
		for _, y := range line.Y {
			if !math.IsNaN(y) {
				low, high = min(low, y), max(high, y)
			}
		}
	}
	if low <= 0 || high/low < logFrom {
		return panel.Lines
	}
	var lines []Line
	for _, line := range panel.Lines {
		logarithms := make([]float64, len(line.Y))
		for i, y := range line.Y {
			logarithms[i] = math.Log10(y)
		}
		lines = append(lines, Line{line.Name, line.X, logarithms})
	}
	room := math.Log10(high / low)
	p.Y.Tick.Marker = decadeTicks{}
	p.Y.Min, p.Y.Max = math.Log10(low)-0.1*room, math.Log10(high)+0.1*room
	if legend {
		p.Y.Max += 0.3 * room
	}
	return lines
}

// decadeTicks are the powers of ten, and where those are fewer than three, twice and five times
// them too, on an axis of decadic logarithms.
type decadeTicks struct{}

func (decadeTicks) Ticks(low, high float64) []plot.Tick {
	for _, factors := range [][]float64{{1}, {1, 2, 5}} {
		var ticks []plot.Tick
		for power := math.Floor(low); power <= high; power++ {
			for _, factor := range factors {
				if at := power + math.Log10(factor); at >= low && at <= high {
					ticks = append(ticks, plot.Tick{Value: at, Label: Number(factor * math.Pow(10, power))})
				}
			}
		}
		if len(ticks) >= 3 || len(factors) > 1 {
			return ticks
		}
	}
	return nil
}

// valueTicks are at the values that were measured, and nowhere else. One whose label would lie on
// the one before has none.
type valueTicks struct {
	values      []float64
	logarithmic bool
	name        func(x float64) string
}

// letterShare is what a letter of a label takes of the axis, with the room beside it.
const letterShare = 0.0125

func (v valueTicks) Ticks(low, high float64) []plot.Tick {
	place := func(x float64) float64 { return (x - low) / (high - low) }
	if v.logarithmic {
		place = func(x float64) float64 { return math.Log(x/low) / math.Log(high/low) }
	}
	var ticks []plot.Tick
	free := 0. // from here on there is room
	for _, x := range v.values {
		if x < low || x > high {
			continue
		}
		tick := plot.Tick{Value: x, Label: v.name(x)}
		half := letterShare * float64(len(tick.Label)) / 2
		if at := place(x); len(ticks) > 0 && at-half < free {
			tick.Label = ""
		} else {
			free = at + half
		}
		ticks = append(ticks, tick)
	}
	return ticks
}

// marks are the measured points of a line.
type marks struct {
	line    Line
	series  int
	crossed []float64 // values of X, like hollow
	hollow  []float64
}

func (m marks) Plot(c draw.Canvas, p *plot.Plot) {
	toX, toY := p.Transforms(&c)
	glyph := draw.GlyphStyle{Color: colours[m.series%len(colours)], Radius: 2.8, Shape: shapes[m.series%len(shapes)]}
	cross := draw.LineStyle{Color: faultColour, Width: lineWidth}
	for i, y := range m.line.Y {
		if math.IsNaN(y) {
			continue
		}
		at := vg.Point{X: toX(m.line.X[i]), Y: toY(y)}
		if slices.Contains(m.hollow, m.line.X[i]) {
			paper := glyph
			paper.Color, paper.Shape = color.White, draw.CircleGlyph{}
			c.DrawGlyph(paper, at) // over the line
			paper.Color, paper.Shape = glyph.Color, draw.RingGlyph{}
			c.DrawGlyph(paper, at)
		} else {
			c.DrawGlyph(glyph, at)
		}
		if slices.Contains(m.crossed, m.line.X[i]) {
			c.StrokeLine2(cross, at.X-crossSize, at.Y-crossSize, at.X+crossSize, at.Y+crossSize)
			c.StrokeLine2(cross, at.X-crossSize, at.Y+crossSize, at.X+crossSize, at.Y-crossSize)
		}
	}
}

// shapes tell the series apart where their dashes are too short to.
var shapes = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}, draw.RingGlyph{}}

var _ plot.Plotter = marks{}
