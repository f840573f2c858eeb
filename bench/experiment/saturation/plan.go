package saturation

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"sekali/bench/scenario"
)

// confirmLength is how many times longer than a probe the run is that confirms the answer: what
// builds up slowly shows in it.
const confirmLength = 3

// Plan makes a probe's scenario out of a file: the same text, with one case behind it that sets the
// phases. So a probe's run.json says verbatim what was run, and replays.
type Plan struct {
	path             string
	text             []byte
	phases           []scenario.Phase
	name             string
	eventsPerRequest int
}

// NewPlan takes a scenario whose phases are open loop, without cases, sweep or fault: the search
// sets the rates.
func NewPlan(s *scenario.Scenario) (*Plan, error) {
	if len(s.Cases) != 1 || s.Cases[0].Name != "" {
		return nil, fmt.Errorf("%s: a search has neither cases nor a sweep", s.Path)
	}
	settings := s.Cases[0].Settings
	if settings.Fault.Kind != scenario.NoFault {
		return nil, fmt.Errorf("%s: a search has no fault", s.Path)
	}
	if slices.ContainsFunc(settings.Load.Phases, func(p scenario.Phase) bool { return p.Rate == 0 }) {
		return nil, fmt.Errorf("%s: a search sets the rates: every phase needs one, and a duration", s.Path)
	}
	return &Plan{path: s.Path, text: s.Text, phases: settings.Load.Phases, name: s.Name,
		eventsPerRequest: settings.Load.EventsPerRequest}, nil
}

// probe is the scenario of a search's probe number n, from 1, at so many requests a second.
func (p *Plan) probe(kind Kind, n int, rate float64) (*scenario.Scenario, error) {
	var phases []string
	for _, phase := range p.phases {
		duration := time.Duration(phase.Duration)
		if kind == Confirming && phase.Measured {
			duration *= confirmLength
		}
		text := fmt.Sprintf("{name: %s, rate: %s/s, duration: %s, measured: %v", phase.Name, decimal(rate), duration, phase.Measured)
		if phase.Arrivals != "" {
			text += ", arrivals: " + phase.Arrivals
		}
		phases = append(phases, text+"}")
	}
	return p.with(caseText(caseName(kind, n)) + fmt.Sprintf("    load: {phases: [%s]}\n", strings.Join(phases, ", ")))
}

// caseText is a case in which attempts may be refused, and requests may never get through. The
// objective says how much of that there may be: a rate that misses it is no failure of the run.
func caseText(name string) string {
	return fmt.Sprintf("cases:\n  - name: %s\n    expect: {unacknowledged: any, refused: any, failures: any}\n", name)
}

func caseName(kind Kind, n int) string { return fmt.Sprintf("%s-%02d", kind, n) }

// decimal writes a rate in full.
func decimal(rate float64) string { return strconv.FormatFloat(rate, 'f', -1, 64) }

// curveName is the case that the curve's rates are laid over: curve-rate-40.
const curveName = "curve"

// curvePoints are the shares of the rate that was found at which the curve is measured.
var curvePoints = []float64{0.10, 0.20, 0.35, 0.50, 0.65, 0.75, 0.85, 0.95, 1.00, 1.05}

// curve is a sweep over whole rates around the one that was found, nil where there are no two of
// them.
func (p *Plan) curve(rate float64) (*scenario.Scenario, error) {
	var values []string
	for _, share := range curvePoints {
		if value := math.Round(share * rate); value >= 1 {
			values = append(values, decimal(value))
		}
	}
	if values = slices.Compact(values); len(values) < 2 {
		return nil, nil
	}
	return p.with(caseText(curveName) + "sweep: {parameter: load.rate, values: [" + strings.Join(values, ", ") + "]}\n")
}

func (p *Plan) with(more string) (*scenario.Scenario, error) {
	text := append(bytes.TrimRight(slices.Clone(p.text), "\n"), '\n')
	return scenario.Parse(p.path, append(text, more...))
}
