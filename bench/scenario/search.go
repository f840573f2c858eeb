package scenario

import (
	"errors"
	"fmt"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"sekali/bench/judge/objective"
)

// Search is what `bench saturate` looks for with the scenario: the highest rate that meets the
// objective.
type Search struct {
	Objective Objective `yaml:"objective"`
	Start     Rate      `yaml:"start"`  // of the first search's first probe
	Repeat    int       `yaml:"repeat"` // searches, which have to agree
	Budget    Duration  `yaml:"budget"` // for all of them and the curve; what is under way then is given up
}

// Objective is written as objective.Parse reads it.
type Objective struct{ objective.Objective }

const (
	// defaultObjective is what most people mean by "it keeps up": nearly everybody is answered soon,
	// nobody is turned away or left without an answer, and what is accepted is processed as fast as it
	// comes.
	defaultObjective = "p99<50ms,refused=0,unknown=0,backlog<2s,leftover<10%"
	// defaultStart is a fourth of what the aggregator takes on 2 cores.
	defaultStart = 100
	// defaultBudget is twice what three searches and the curve take there, with probes of 5 s.
	defaultBudget = 15 * time.Minute
	// maxSearches bounds the repeats: the range of ten says as much as the machine will.
	maxSearches = 10
)

// newSearch is a search as it is where the file does not say otherwise.
func newSearch() (Search, error) {
	o, err := objective.Parse(defaultObjective)
	return Search{Objective: Objective{o}, Start: defaultStart, Repeat: 1, Budget: Duration(defaultBudget)}, err
}

// Check says what is wrong with a search, as a setting of the file's or of the command's.
func (s Search) Check() error {
	if p := s.check(); p != nil {
		return errors.New(p.message)
	}
	return nil
}

func (s Search) check() *problem {
	switch {
	case len(s.Objective.Objective) == 0:
		return &problem{"search.objective", "an objective such as p99<50ms,refused=0 is needed"}
	case !(s.Start >= 1 && s.Start <= maxRate):
		return &problem{"search.start", fmt.Sprintf("a search starts at 1/s to %g/s, not at %g/s", float64(maxRate), float64(s.Start))}
	case s.Repeat < 1 || s.Repeat > maxSearches:
		return &problem{"search.repeat", fmt.Sprintf("1 to %d searches are repeated, not %d", maxSearches, s.Repeat)}
	case s.Budget <= 0 || time.Duration(s.Budget) > maxPhaseTime:
		return &problem{"search.budget", fmt.Sprintf("a budget is above 0 and at most %s, not %s", maxPhaseTime, time.Duration(s.Budget))}
	}
	return nil
}

// UnmarshalYAML reads "p99<50ms,refused=0"; an error's column is that of the term.
func (o *Objective) UnmarshalYAML(node ast.Node) error {
	text, _, err := scalar(node, "an objective such as p99<50ms,refused=0")
	if err != nil {
		return err
	}
	parsed, err := objective.Parse(text)
	var refusal *objective.Error
	if errors.As(err, &refusal) {
		return &yaml.SyntaxError{Message: refusal.Message, Token: within(node.GetToken(), refusal.Offset)}
	}
	o.Objective = parsed
	return err
}

// within is a place so many bytes into a text on one line.
func within(t *token.Token, offset int) *token.Token {
	moved, position := *t, *t.Position
	if t.Type == token.SingleQuoteType || t.Type == token.DoubleQuoteType {
		offset++
	}
	position.Column += offset
	moved.Position = &position
	return &moved
}
