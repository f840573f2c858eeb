package stage

import (
	"encoding/json"
	"net/http"
)

// Table is which stages there are, and to which of them a sample without labels belongs.
type Table struct {
	Stages    []string   `json:"stages"`    // in the order of an event's way
	Functions []Function `json:"functions"` // the first that is on a sample's stack counts
}

// Function gives all functions whose names begin with a prefix to a stage.
type Function struct {
	Prefix string `json:"prefix"`
	Stage  string `json:"stage"`
}

// New returns the table of this build. Profiles of allocations have no labels: so these functions
// tell their stages, the narrowest first.
func New() Table {
	t := Table{}
	for _, s := range []Stage{HTTP, Decode, Journal, Read, Dedup, Events, Commit, Checkpoint, Runs} {
		t.Stages = append(t.Stages, s.name)
	}
	const pkg = "sekali/aggregator/"
	for _, f := range []struct {
		prefix string
		stage  Stage
	}{
		{pkg + "dedup.(*Index).work", Runs},
		{pkg + "dedup.", Dedup},
		{pkg + "store.(*runsDedup)", Dedup},
		{pkg + "store.(*tableDedup)", Dedup},
		{pkg + "store.(*blocksLayout)", Events},
		{pkg + "store.(*rowsLayout)", Events},
		{pkg + "pipeline.(*writer).read", Read},
		{pkg + "pipeline.(*writer).checkpoint", Checkpoint},
		{pkg + "pipeline.(*writer)", Commit},
		{pkg + "journal.", Journal},
		{pkg + "pipeline.(*Pipeline).RunCommitter", Journal},
		{pkg + "event.", Decode},
		{pkg + "internal/ingest.", Decode},
		{pkg + "internal/api.", HTTP},
		{"github.com/valyala/fasthttp.", HTTP},
	} {
		t.Functions = append(t.Functions, Function{f.prefix, f.stage.name})
	}
	return t
}

// ServeHTTP answers with the table, so that who takes a profile can tell its stages.
func (t Table) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(t) // the client may be gone
}
