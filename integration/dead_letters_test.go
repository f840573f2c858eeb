package integration_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// TestDeadLetters lets the database refuse an event, as an operator's trigger may: its neighbours are stored, it is listed with the
// reason, and the counters add up, also after a restart.
func TestDeadLetters(t *testing.T) {
	for raise, reason := range map[string]string{"RAISE(ABORT, 'no bad events')": "no bad events", "RAISE(IGNORE)": "ignored"} {
		t.Run(raise, func(t *testing.T) { deadLetters(t, raise, reason) })
	}
}

func deadLetters(t *testing.T, raise, reason string) {
	data := dataFolder(t)
	a := start(t, data)
	a.store(t, "good", "0")
	change(t, data, "CREATE TRIGGER refuse BEFORE INSERT ON topic_blocks WHEN NEW.topic = 'bad' BEGIN SELECT "+raise+"; END")
	body := `[{"topic":"good","event_id":"1","timestamp":"2026-11-23T06:41:10Z"},
		{"topic":"bad","event_id":"1","timestamp":"2026-11-23T06:41:10Z","payload":{"n": 1}},
		{"topic":"good","event_id":"1","timestamp":"2026-11-23T06:41:10Z"}]`
	answer, err := a.client.Post(a.URL+"/publish?ack=store&results=true", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var said struct {
		Stored, Duplicates, Failed int
		Results                    []struct{ Status string }
	}
	if err := json.NewDecoder(answer.Body).Decode(&said); err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK || said.Stored != 1 || said.Duplicates != 1 || said.Failed != 1 ||
		len(said.Results) != 3 || said.Results[1].Status != "failed" || said.Results[2].Status != "duplicate" {
		t.Errorf("%d %+v", answer.StatusCode, said)
	}
	a.mustPublish(t, []byte(body), "journal")
	a.drained(t)
	a.kill()
	a = start(t, data)
	if c := a.drained(t); c.Received != 7 || c.Unique != 2 || c.Duplicates != 3 || c.Failed != 2 {
		t.Errorf("%+v", c)
	}
	page, err := a.get("/dead-letters?limit=10", "application/json")
	if err != nil {
		t.Fatal(err)
	}
	var letters struct {
		DeadLetters []struct {
			Topic    string
			Payload  string
			Attempts int
			Error    string
		} `json:"dead_letters"`
		NextAfter *int `json:"next_after"`
	}
	if err := json.Unmarshal(page, &letters); err != nil || len(letters.DeadLetters) != 1 || letters.NextAfter != nil {
		t.Fatalf("%v: %s", err, page)
	}
	if l := letters.DeadLetters[0]; l.Topic != "bad" || l.Payload != `{"n": 1}` || l.Attempts != 2 || !strings.Contains(l.Error, reason) {
		t.Errorf("%+v", l)
	}
	a.stop(t)
	if code, out := tool(t, "check", "-data", data); code != 0 || !strings.Contains(out, "2 dead letters") {
		t.Errorf("check: exit %d: %s", code, out)
	}
}
