package integration_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

const invalidEvents = `[{"topic":"t","event_id":"1","timestamp":"2026-11-23T06:41:10Z"},
	{"event_id":"2","timestamp":"2026-11-23T06:41:10Z"}, {"topic":"t","event_id":"3","timestamp":"yesterday"}, {"topic":"t","timestamp":"2026-11-23T06:41:10Z"}]`

// TestRejectedAreCounted: events that are refused are counted by code, and logged by sample: one
// line, however many requests are wrong.
func TestRejectedAreCounted(t *testing.T) {
	a, log := startLogged(t, dataFolder(t))
	for range 20 {
		a.mustPublish(t, []byte(invalidEvents), "journal")
	}
	if status, _, _ := a.send(t, http.MethodPost, sent{path: "/_bulk", body: `{"create":{"_index":"i","_id":"1"}}` + "\n{}\n" + `{"delete":{"_id":"1"}}` + "\n"}); status != http.StatusOK {
		t.Errorf("bulk: %d", status)
	}
	text, err := a.get("/stats", applicationJSON)
	if err != nil {
		t.Fatal(err)
	}
	var stats struct {
		Rejected int            `json:"rejected"`
		ByCode   map[string]int `json:"rejected_by_code"`
	}
	if err := json.Unmarshal(text, &stats); err != nil || stats.Rejected != 61 || len(stats.ByCode) != 3 ||
		stats.ByCode["missing_field"] != 40 || stats.ByCode["invalid_timestamp"] != 20 || stats.ByCode["not_supported"] != 1 {
		t.Errorf("%v: %+v", err, stats)
	}
	if text := log.String(); strings.Count(text, "were refused") != 1 || !strings.Contains(text, `"refused":3,"path":"/publish","code":"missing_field"`) {
		t.Errorf("logged: %s", text)
	}
}
