package chart

import (
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Line is one quantity over time. NaN in Y interrupts it.
type Line struct {
	Name string
	X    []float64 // seconds, or what the axis says
	Y    []float64
}

// Panel is one coordinate system; its lines share a unit, which Label names.
type Panel struct {
	Label string
	Lines []Line
	// Crossed are the values of X at which marks are crossed, where the panel has marks: what was
	// measured there missed its objective.
	Crossed []float64
	// Hollow are those whose marks are rings: what was measured there is INVALID.
	Hollow []float64
}

// Span marks a stretch of time: a phase, or the fault from the signal until the aggregator was
// ready again. Faults of one name have it once, above the first of them.
type Span struct {
	Name     string
	From, To float64 // seconds
	Measured bool
	Fault    bool
}

// Timeline draws the panels below each other over one time axis, with the spans behind them.
func Timeline(panels []Panel, spans []Span) ([]byte, error) {
	return Lines("seconds since the load began", panels, spans)
}

// Lines is Timeline over another quantity, which xLabel names and which spans are of too.
func Lines(xLabel string, panels []Panel, spans []Span) ([]byte, error) {
	from, to := extent(panels)
	plots := make([]*plot.Plot, len(panels))
	for i, panel := range panels {
		p := newPlot(panel.Label)
		p.X.Min, p.X.Max, p.Y.Min = from, to, 0
		p.Add(&spanPlotter{spans: spans, named: i == 0}, horizontalGrid())
		for j, line := range panel.Lines {
			if err := addLine(p, j, line, len(panel.Lines) > 1); err != nil {
				return nil, err
			}
		}
		p.X.Min, p.X.Max, p.Y.Min = from, to, 0
		p.Y.Max = headroom(panel, len(panel.Lines) > 1)
		p.Legend.Left = i == 0 && nameAtRight(spans, from, to)
		if i == 0 && len(spans) > 0 {
			p.Title.Text = " " // the room in which the spans are named
		}
		if i == len(panels)-1 {
			p.X.Label.Text = xLabel
		}
		plots[i] = p
	}
	return svg(plots, vg.Length(len(panels))*panelHeight+0.4*vg.Inch)
}

// nameAtRight says that a fault has its name where the legend would stand, at the right.
func nameAtRight(spans []Span, from, to float64) bool {
	return slices.ContainsFunc(spans, func(s Span) bool {
		at := s.To
		if s.fits(to - from) {
			at = s.From + s.nameWidth(to-from)
		}
		return s.Fault && !again(spans, s) && at > to-(to-from)/3
	})
}

// nameWidth is what the name takes of an axis of such a length, and fits says that it has room
// within the span.
func (s Span) nameWidth(axis float64) float64 { return letterShare * float64(len(s.Name)+1) * axis }
func (s Span) fits(axis float64) bool         { return s.To-s.From >= s.nameWidth(axis) }

// again says that another fault has the same name.
func again(spans []Span, s Span) bool {
	return slices.ContainsFunc(spans, func(other Span) bool { return other.Fault && other.Name == s.Name && other.From != s.From })
}

func horizontalGrid() *plotter.Grid {
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	grid.Horizontal.Color, grid.Horizontal.Width = gridColour, 0.6
	return grid
}

// headroom leaves the legend a place above the lines.
func headroom(panel Panel, legend bool) float64 {
	highest := 0.
	for _, line := range panel.Lines {
		for _, y := range line.Y {
			if !math.IsNaN(y) {
				highest = max(highest, y)
			}
		}
	}
	switch {
	case highest == 0:
		return 1
	case legend:
		// A line of the legend takes an eighth of a panel.
		return highest * max(1.35, 1/(1-0.129*float64(min(4, len(panel.Lines)))))
	}
	return highest * 1.1
}

func extent(panels []Panel) (from, to float64) {
	from, to = 0, math.Inf(-1)
	for _, panel := range panels {
		for _, line := range panel.Lines {
			for _, x := range line.X {
				from, to = min(from, x), max(to, x)
			}
		}
	}
	if from >= to {
		return 0, 1
	}
	return from, to
}

// addLine draws the parts between interruptions, all in the style of the i-th series.
func addLine(p *plot.Plot, i int, line Line, legend bool) error {
	style := draw.LineStyle{Color: colours[i%len(colours)], Width: lineWidth, Dashes: dashes[i%len(dashes)]}
	var part plotter.XYs
	flush := func() error {
		if len(part) < 2 {
			part = nil
			return nil
		}
		drawn, err := plotter.NewLine(part)
		if err != nil {
			return err
		}
		drawn.LineStyle = style
		p.Add(drawn)
		part = nil
		return nil
	}
	for k := range line.X {
		if math.IsNaN(line.Y[k]) {
			if err := flush(); err != nil {
				return err
			}
			continue
		}
		part = append(part, plotter.XY{X: line.X[k], Y: line.Y[k]})
	}
	if legend {
		p.Legend.Add(legendName(line.Name), &plotter.Line{LineStyle: style})
	}
	return flush()
}

// spanPlotter draws phases as boundaries, the measured ones on a tint, and faults as a red band.
type spanPlotter struct {
	spans []Span
	named bool // above the panel
}

func (s *spanPlotter) Plot(c draw.Canvas, p *plot.Plot) {
	for _, faults := range []bool{false, true} { // faults over phases
		for _, span := range s.spans {
			if span.Fault == faults {
				s.draw(c, p, span)
			}
		}
	}
}

func (s *spanPlotter) draw(c draw.Canvas, p *plot.Plot, span Span) {
	toX, _ := p.Transforms(&c)
	left, right := toX(max(span.From, p.X.Min)), toX(min(span.To, p.X.Max))
	if right < left {
		return
	}
	line := draw.LineStyle{Color: boundaryColour, Width: 0.8, Dashes: []vg.Length{2, 2}}
	switch {
	case span.Fault:
		line = draw.LineStyle{Color: faultColour, Width: 1.2}
		c.FillPolygon(faultFill, rectangle(left, right, c.Min.Y, c.Max.Y))
		c.StrokeLine2(line, right, c.Min.Y, right, c.Max.Y)
	case span.Measured:
		c.FillPolygon(measuredFill, rectangle(left, right, c.Min.Y, c.Max.Y))
	}
	c.StrokeLine2(line, left, c.Min.Y, left, c.Max.Y)
	if s.named && (span.Fault || s.hasRoom(c, p, span)) {
		s.name(c, p, span, left, right)
	}
}

// name writes a span's name above it; that of a fault, if there is one of the name, below the names
// of the phases: in its band, or on the side that has room.
func (s *spanPlotter) name(c draw.Canvas, p *plot.Plot, span Span, left, right vg.Length) {
	text := p.Title.TextStyle
	text.Font.Size, text.XAlign, text.YAlign = smallSize, draw.XLeft, draw.YBottom
	at := vg.Point{X: left + 2, Y: c.Max.Y + 2}
	switch {
	case !span.Fault:
	case again(s.spans, span):
		first := slices.IndexFunc(s.spans, func(other Span) bool { return other.Fault && other.Name == span.Name })
		if s.spans[first] != span {
			return
		}
		text.Color = faultColour
	default:
		text.Color, text.YAlign, at.Y = faultColour, draw.YTop, c.Max.Y-2
		switch {
		case span.fits(p.X.Max - p.X.Min):
			at.X = left + 3
		case right > (c.Min.X+c.Max.X)/2:
			at.X = left - 3 - nameRoom*text.Width(span.Name)
		default:
			at.X = right + 3
		}
	}
	c.FillText(text, at, span.Name)
}

// hasRoom says that no measured phase, nor one before it, has its name where that of this phase
// would stand.
func (s *spanPlotter) hasRoom(c draw.Canvas, p *plot.Plot, span Span) bool {
	toX, _ := p.Transforms(&c)
	text := p.Title.TextStyle
	text.Font.Size = smallSize
	end := func(of Span) vg.Length { return toX(of.From) + nameRoom*text.Width(of.Name) }
	for _, other := range s.spans {
		before := other.From < span.From && (other.Measured || !span.Measured && s.hasRoom(c, p, other))
		after := other.From > span.From && other.Measured && !span.Measured
		if !other.Fault && (before && end(other) > toX(span.From) || after && end(span) > toX(other.From)) {
			return false
		}
	}
	return true
}

// nameRoom is how much wider than its text a name may come out, in a font that is not ours.
const nameRoom = 1.3

func rectangle(left, right, bottom, top vg.Length) []vg.Point {
	return []vg.Point{{X: left, Y: bottom}, {X: right, Y: bottom}, {X: right, Y: top}, {X: left, Y: top}}
}
