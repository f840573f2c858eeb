package integration_test

import (
	"strings"
	"testing"
)

// TestPostWithoutBody: a POST that has no body is malformed, however it says so, and keeps nothing
// of what was set aside for one: after more of them than the bodies' bound has room for, publishers
// are served.
func TestPostWithoutBody(t *testing.T) {
	const most = 2100 // of 64 KiB each, where 128 MiB is the bound
	a := start(t, dataFolder(t))
	for name, request := range map[string]string{
		"JSON":     "POST /publish HTTP/1.1\r\nHost: localhost\r\n" + jsonType + "\r\n",
		"NDJSON":   "POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n\r\n",
		"HTTP/1.0": "POST /publish HTTP/1.0\r\n" + jsonType + "\r\n",
		"Expect":   "POST /publish HTTP/1.1\r\nHost: localhost\r\n" + jsonType + "Expect: 100-continue\r\n\r\n",
		"gzip":     "POST /publish HTTP/1.1\r\nHost: localhost\r\n" + jsonType + "Content-Encoding: gzip\r\n\r\n",
		"identity": "POST /publish HTTP/1.1\r\nHost: localhost\r\n" + jsonType + "Transfer-Encoding: identity\r\n\r\n",
	} {
		want := 400
		if name == "NDJSON" {
			want = 202 // no line, no event
		}
		answers := a.pipeline(t, request, 1)
		if len(answers) == 1 && answers[0].status == 100 {
			answers = a.pipeline(t, request, 2)[1:]
		}
		if len(answers) != 1 || answers[0].status != want || want == 400 && !strings.Contains(answers[0].body, `"code":"malformed"`) {
			t.Errorf("%s: %+v, want %d", name, answers, want)
		}
	}
	request := "POST /publish HTTP/1.1\r\nHost: localhost\r\n" + jsonType + "\r\n"
	for _, answer := range a.pipeline(t, strings.Repeat(request, most), most) {
		if answer.status != 400 {
			t.Fatalf("%+v, want 400", answer)
		}
	}
	if status, text, err := a.publish([]byte(oneEvent("after")), "store"); err != nil || status != 200 {
		t.Errorf("after %d of them: %d %s %v", most, status, text, err)
	}
	if body, err := a.get("/readyz", ""); err != nil {
		t.Errorf("not ready: %s %v", body, err)
	}
}
