package chart

import (
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Series is one value for each group of a bar chart; NaN leaves a gap.
type Series struct {
	Name   string
	Values []float64
}

// BarPanel is one coordinate system of bars, from zero; its series share a unit, which Label names.
type BarPanel struct {
	Label  string
	Series []Series
	// Kinds: each group has a value in one series, which says of what kind its only bar is.
	Kinds bool
}

// Bars draws panels of bars below each other, one group a name, and writes each value above its
// bar.
func Bars(groups []string, panels []BarPanel) ([]byte, error) {
	plots := make([]*plot.Plot, len(panels))
	for i, panel := range panels {
		p := newPlot(panel.Label)
		p.NominalX(groups...)
		p.X.Tick.LineStyle.Width = 0
		p.Add(horizontalGrid())
		bars := max(1, len(panel.Series)) // of a group
		if panel.Kinds {
			bars = 1
		}
		highest, wide := 0., 0.8*(width-60)/vg.Length(len(groups)*bars)
		wide = min(wide, 46)
		for j, series := range panel.Series {
			var offset vg.Length
			if !panel.Kinds {
				offset = (vg.Length(j) - vg.Length(bars-1)/2) * (wide + 2)
			}
			p.Add(&barPlotter{values: series.Values, width: wide, offset: offset, style: p.Legend.TextStyle, series: j, kinds: panel.Kinds})
			if len(panel.Series) > 1 {
				p.Legend.Add(legendName(series.Name), swatch(j))
			}
			for _, v := range series.Values {
				if !math.IsNaN(v) {
					highest = max(highest, v)
				}
			}
		}
		p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = -0.6, float64(len(groups))-0.4, 0, highest*1.2
		if len(panel.Series) > 1 {
			// Room for one line of legend for each series, above the highest bar's label.
			p.Y.Max = highest * (1.2 + 0.2*float64(len(panel.Series)))
		}
		if highest == 0 {
			p.Y.Max = 1
		}
		plots[i] = p
	}
	return svg(plots, vg.Length(len(panels))*panelHeight+0.2*vg.Inch)
}

type swatch int

func (s swatch) Thumbnail(c *draw.Canvas) {
	c.FillPolygon(colours[int(s)%len(colours)], rectangle(c.Min.X, c.Max.X, c.Min.Y, c.Max.Y))
}

type barPlotter struct {
	values        []float64
	width, offset vg.Length
	style         draw.TextStyle
	series        int
	kinds         bool // a group without a value has one of another kind
}

func (b *barPlotter) Plot(c draw.Canvas, p *plot.Plot) {
	toX, toY := p.Transforms(&c)
	text := b.style
	text.Font.Size, text.XAlign, text.YAlign = smallSize, draw.XCenter, draw.YBottom
	for i, v := range b.values {
		centre := toX(float64(i)) + b.offset
		if math.IsNaN(v) && b.kinds {
			continue
		}
		if math.IsNaN(v) {
			c.FillText(text, vg.Point{X: centre, Y: toY(0) + 2}, "–")
			continue
		}
		c.FillPolygon(colours[b.series%len(colours)], rectangle(centre-b.width/2, centre+b.width/2, toY(0), toY(v)))
		c.FillText(text, vg.Point{X: centre, Y: toY(v) + 2}, Number(v))
	}
}
