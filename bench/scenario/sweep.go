package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Point is the place of a case on the curve of a sweep.
type Point struct {
	Parameter string // as in the file: load.events_per_request
	Value     string // as in the file, a number in its shortest form
	Curve     string // name of the file's case that the value was laid over; "" where it has none

	index int // into the file's values
}

// sweepText is `sweep: {parameter: load.events_per_request, values: [1, 10, 100]}`: every case of
// the file is run with every value.
type sweepText struct {
	Parameter string       `yaml:"parameter"`
	Values    []sweepValue `yaml:"values"`
}

// sweepValue is a number or a text; which of them it must be depends on the parameter.
type sweepValue struct {
	text string
	bare bool // not quoted, and a number
	node ast.Node
}

// UnmarshalYAML reads any scalar.
func (v *sweepValue) UnmarshalYAML(node ast.Node) error {
	text, bare, err := scalar(node, "a value of the parameter")
	*v = sweepValue{text, bare, node}
	return err
}

// parameter is what can be swept: apply puts a value into settings and returns its shortest form,
// or what is wrong.
type parameter struct {
	name  string
	apply func(*Settings, sweepValue) (string, error)
}

var parameters = []parameter{
	{"aggregator.ack", choice(func(s *Settings) *string { return &s.Aggregator.Ack })},
	{"aggregator.batch_events", whole(func(s *Settings) *int { return &s.Aggregator.BatchEvents })},
	{"load.events_per_request", whole(func(s *Settings) *int { return &s.Load.EventsPerRequest })},
	{"load.rate", requestRate},
	{"stream.distance", choice(func(s *Settings) *string { return &s.Stream.Distance })},
	{"stream.duplicates", share(func(s *Settings) *float64 { return &s.Stream.Duplicates })},
	{"stream.ids", choice(func(s *Settings) *string { return &s.Stream.IDs })},
	{"stream.payload_bytes", whole(func(s *Settings) *int { return &s.Stream.PayloadBytes })},
}

// choice takes a text; the settings' own check knows which ones there are. An empty one would stand
// for the default.
func choice(field func(*Settings) *string) func(*Settings, sweepValue) (string, error) {
	return func(s *Settings, v sweepValue) (string, error) {
		if v.bare || v.text == "" {
			return "", refuse(v.node, "%q is not a text", v.text)
		}
		*field(s) = v.text
		return v.text, nil
	}
}

// whole takes a number of 1 or more: 0 would stand for the default.
func whole(field func(*Settings) *int) func(*Settings, sweepValue) (string, error) {
	return func(s *Settings, v sweepValue) (string, error) {
		n, err := strconv.Atoi(v.text)
		if !v.bare || err != nil || n < 1 {
			return "", refuse(v.node, "%q is not a whole number of 1 or more", v.text)
		}
		*field(s) = n
		return strconv.Itoa(n), nil
	}
}

// requestRate sets the rate of every phase, in requests a second; what the phases say of it is
// replaced.
func requestRate(s *Settings, v sweepValue) (string, error) {
	n, err := strconv.Atoi(v.text)
	if !v.bare || err != nil || n < 1 {
		return "", refuse(v.node, "%q is not a whole number of requests a second", v.text)
	}
	for i := range s.Load.Phases {
		if s.Load.Phases[i].Rate == 0 {
			return "", refuse(v.node, "phase %q has clients and no rate", s.Load.Phases[i].Name)
		}
		s.Load.Phases[i].Rate = Rate(n)
	}
	return strconv.Itoa(n), nil
}

func share(field func(*Settings) *float64) func(*Settings, sweepValue) (string, error) {
	return func(s *Settings, v sweepValue) (string, error) {
		x, err := strconv.ParseFloat(v.text, 64)
		if !v.bare || err != nil {
			return "", refuse(v.node, "%q is not a number", v.text)
		}
		*field(s) = x
		return strconv.FormatFloat(x, 'f', -1, 64), nil
	}
}

// expand replaces each case by one for every value, all cases of a value after each other: what the
// machine does meanwhile meets neighbours on the curves alike.
func (t *sweepText) expand(path string, root ast.Node, s *Scenario) error {
	if t == nil {
		if node := find(root, "sweep"); node != nil {
			return at(path, start(node), "sweep: a parameter and values are needed")
		}
		return nil
	}
	p, err := t.check(path, root, s)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	var cases []Case
	for i, value := range t.Values {
		for _, c := range s.Cases {
			c.Settings.Load.Phases = slices.Clone(c.Settings.Load.Phases)
			text, err := p.apply(&c.Settings, value)
			if err != nil {
				return located(path, err)
			}
			name := p.name[strings.LastIndex(p.name, ".")+1:] + "-" + text
			c.Point = &Point{Parameter: p.name, Value: text, Curve: c.Name, index: i}
			if c.Name != "" {
				name = c.Name + "-" + name
			}
			if seen[name] {
				return at(path, value.node.GetToken(), fmt.Sprintf("sweep.values: %s is there twice", text))
			}
			seen[name] = true
			c.Name = name
			cases = append(cases, c)
		}
	}
	s.Cases = cases
	return nil
}

// check returns the parameter. One that is set beside the sweep is refused: the file would say two
// things about it.
func (t *sweepText) check(path string, root ast.Node, s *Scenario) (*parameter, error) {
	known := slices.IndexFunc(parameters, func(p parameter) bool { return p.name == t.Parameter })
	if known < 0 {
		var names []string
		for _, p := range parameters {
			names = append(names, p.name)
		}
		return nil, place(path, root, "", oneOf("sweep.parameter", t.Parameter, names...))
	}
	if n := len(t.Values); n < 2 || n*len(s.Cases) > maxCases {
		return nil, place(path, root, "", &problem{"sweep.values",
			fmt.Sprintf("2 are needed, and at most %d with all cases, not %d", maxCases/len(s.Cases), n)})
	}
	settings := []string{t.Parameter}
	for i := range s.Cases {
		settings = append(settings, fmt.Sprintf("cases[%d].%s", i, t.Parameter))
	}
	for _, setting := range settings {
		if node := find(root, setting); node != nil {
			return nil, at(path, start(node), fmt.Sprintf("%s: is swept, and set here as well", t.Parameter))
		}
	}
	return &parameters[known], nil
}

// blames says that a problem is one of the swept value.
func (p *Point) blames(found *problem) bool {
	if p == nil || found == nil {
		return false
	}
	group, name, _ := strings.Cut(p.Parameter, ".")
	return found.place == p.Parameter || found.place == group && strings.HasPrefix(found.message, name+" ")
}
