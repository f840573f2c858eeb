package saturation

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"sekali/bench/scenario"
)

// Plan makes a probe's scenario out of a file: the same text, with one case behind it that sets the phases. So a probe's
// run.json says verbatim what was run, and replays.
type Plan struct {
	path    string
	text    []byte
	phases  []scenario.Phase
	confirm float64 // times the length of a probe
}

// NewPlan reads a scenario whose phases are open loop, without cases, sweep or fault: the search sets the rates.
func NewPlan(path string, text []byte, confirm float64) (*Plan, error) {
	s, err := scenario.Parse(path, text)
	if err != nil {
		return nil, err
	}
	if len(s.Cases) != 1 || s.Cases[0].Name != "" {
		return nil, fmt.Errorf("%s: a search has neither cases nor a sweep", path)
	}
	settings := s.Cases[0].Settings
	if settings.Fault.Kind != scenario.NoFault {
		return nil, fmt.Errorf("%s: a search has no fault", path)
	}
	if slices.ContainsFunc(settings.Load.Phases, func(p scenario.Phase) bool { return p.Rate == 0 }) {
		return nil, fmt.Errorf("%s: a search sets the rates: every phase needs one, and a duration", path)
	}
	return &Plan{path: path, text: text, phases: settings.Load.Phases, confirm: confirm}, nil
}

// scenario is that of probe number n, at so many requests a second, rounded to a whole number.
func (p *Plan) scenario(kind Kind, n int, rate float64) (*scenario.Scenario, error) {
	var phases []string
	for _, phase := range p.phases {
		duration := time.Duration(phase.Duration)
		if kind == Confirming && phase.Measured {
			duration = time.Duration(float64(duration) * p.confirm)
		}
		phases = append(phases, fmt.Sprintf("{name: %s, rate: %d/s, duration: %s, measured: %v}", phase.Name, whole(rate), duration, phase.Measured))
	}
	return p.with(fmt.Sprintf("cases:\n  - name: %s-%02d\n    load: {phases: [%s]}\n", kind, n, strings.Join(phases, ", ")))
}

// curvePoints are the shares of the rate that was found at which the curve is measured.
var curvePoints = []float64{0.10, 0.20, 0.35, 0.50, 0.65, 0.75, 0.85, 0.95, 1.00, 1.05}

// curve is a sweep over the rates.
func (p *Plan) curve(rate float64) (*scenario.Scenario, error) {
	var values []string
	for _, share := range curvePoints {
		values = append(values, fmt.Sprint(whole(share*rate)))
	}
	if len(slices.Compact(values)) < len(curvePoints) {
		return nil, errors.New("the rate is too low for a curve: its points would be the same")
	}
	return p.with("sweep: {parameter: load.rate, values: [" + strings.Join(values, ", ") + "]}\n")
}

func (p *Plan) with(more string) (*scenario.Scenario, error) {
	text := append(bytes.TrimRight(slices.Clone(p.text), "\n"), '\n')
	return scenario.Parse(p.path, append(text, more...))
}

// whole is the rate that is run.
func whole(rate float64) int { return max(1, int(math.Round(rate))) }
