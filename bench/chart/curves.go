package chart

import (
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// logFrom is the ratio of the largest to the smallest value from which on an axis is logarithmic: on a linear one the
// small values of 1, 10, 100, 1000 would lie on each other.
const logFrom = 20

// Curves draws the panels below each other over one axis, which xLabel names: a mark for each measured value, joined by
// lines. X is in the parameter's own unit, rising; NaN in Y leaves a gap.
func Curves(xLabel string, panels []Panel) ([]byte, error) {
	values := allX(panels)
	logarithmic := len(values) > 0 && values[0] > 0 && values[len(values)-1]/values[0] >= logFrom
	plots := make([]*plot.Plot, len(panels))
	for i, panel := range panels {
		p := newPlot(panel.Label)
		p.Add(horizontalGrid())
		for j, line := range panel.Lines {
			if err := addLine(p, j, line, len(panel.Lines) > 1); err != nil {
				return nil, err
			}
			p.Add(marks{line: line, series: j})
		}
		p.X.Tick.Marker = valueTicks(values)
		p.Y.Min, p.Y.Max = 0, headroom(panel, len(panel.Lines) > 1)
		setRange(&p.X, values, logarithmic)
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

// valueTicks are at the values that were measured, and nowhere else.
type valueTicks []float64

func (v valueTicks) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for _, x := range v {
		if x >= low && x <= high {
			ticks = append(ticks, plot.Tick{Value: x, Label: Number(x)})
		}
	}
	return ticks
}

// marks are the measured points of a line.
type marks struct {
	line   Line
	series int
}

func (m marks) Plot(c draw.Canvas, p *plot.Plot) {
	toX, toY := p.Transforms(&c)
	glyph := draw.GlyphStyle{Color: colours[m.series%len(colours)], Radius: 2.8, Shape: shapes[m.series%len(shapes)]}
	for i, y := range m.line.Y {
		if !math.IsNaN(y) {
			c.DrawGlyph(glyph, vg.Point{X: toX(m.line.X[i]), Y: toY(y)})
		}
	}
}

// shapes tell the series apart where their dashes are too short to.
var shapes = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{}, draw.RingGlyph{}}

var _ plot.Plotter = marks{}
