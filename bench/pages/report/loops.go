package report

import (
	"slices"
	"strings"
)

// responseTime begins the names of the rows that are from the moment at which a request was due.
const responseTime = "response time"

// closedLoop is what such a row is called where no request was due at a moment: it begins when a
// client was free, and what would have been sent while the server stood still is not in it.
const closedLoop = "service time with retries (closed loop)"

// closed says that all repeats of a case are closed loops.
func (g *group) closed() bool {
	return !slices.ContainsFunc(g.Repeats, func(r repeat) bool { return !r.Run.ClosedLoop() })
}

// named is the name of a row over the cases.
func named(name string, cases ...*group) string {
	rest, waits := strings.CutPrefix(name, responseTime)
	if waits && len(cases) > 0 && !slices.ContainsFunc(cases, func(g *group) bool { return !g.closed() }) {
		return closedLoop + rest
	}
	return name
}

// namedShort is named where there is room for little, at an axis.
func namedShort(name string, cases ...*group) string {
	return strings.Replace(named(name, cases...), closedLoop, "service time", 1)
}
