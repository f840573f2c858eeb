package integration_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

const (
	smallBody = 256 << 10 // the aggregator under hostile input runs with this -max-body-bytes
	fewEvents = 500       // and this -queue-events
	jsonType  = "Content-Type: application/json\r\n"
)

func oneEvent(id string, more ...string) string {
	return fmt.Sprintf(`{"topic":"t","event_id":%q,"timestamp":"2026-11-23T06:41:10Z"%s}`, id, strings.Join(more, ""))
}

func post(headers, body string) string {
	return fmt.Sprintf("POST /publish HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n%s", headers, len(body), body)
}

func get(target string) string { return "GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n" }

func gzipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, s)
	z.Close()
	return b.String()
}

func zstdOf(b []byte) string {
	w, _ := zstd.NewWriter(nil) // fails only for bad options
	return string(w.EncodeAll(b, nil))
}

// hostile are requests that must be answered with status (0: by closing the connection) and
// with code, of the problem or, at 422, of the only event; nothing of them may be stored.
func hostile() []struct {
	name, request string
	status        int
	code          string
} {
	bomb := gzipped(strings.Repeat(" ", 64*smallBody))
	return []struct {
		name, request string
		status        int
		code          string
	}{
		{"empty body", post(jsonType, ""), 400, "malformed"},
		{"white space", post(jsonType, " \n"), 400, "malformed"},
		{"null", post(jsonType, "null"), 400, "malformed"},
		{"bare string", post(jsonType, `"x"`), 400, "malformed"},
		{"bare number", post(jsonType, "1"), 400, "malformed"},
		{"empty object", post(jsonType, "{}"), 422, "missing_field"},
		{"cut in the middle", post(jsonType, "["+oneEvent("h")), 400, "malformed"},
		{"trailing bytes", post(jsonType, oneEvent("h")+"x"), 400, "malformed"},
		{"two documents", post(jsonType, oneEvent("h")+oneEvent("h")), 400, "malformed"},
		{"byte order mark", post(jsonType, "\xef\xbb\xbf"+oneEvent("h")), 400, "malformed"},
		{"UTF-16", post(jsonType, "\xff\xfe{\x00}\x00"), 400, "malformed"},
		{"comment", post(jsonType, "/**/"+oneEvent("h")), 400, "malformed"},
		{"trailing comma", post(jsonType, "["+oneEvent("h")+",]"), 400, "malformed"},
		{"NaN", post(jsonType, oneEvent("h", `,"payload":NaN`)), 400, "malformed"},
		{"leading zero", post(jsonType, oneEvent("h", `,"payload":01`)), 400, "malformed"},
		{"invalid UTF-8", post(jsonType, oneEvent("h", ",\"payload\":\"\xff\"")), 422, "invalid_json"},
		{"lone surrogate", post(jsonType, oneEvent("h", `,"payload":"\ud800"`)), 422, "invalid_json"},
		{"raw control character", post(jsonType, oneEvent("h", ",\"payload\":\"\x01\"")), 400, "malformed"},
		{"NUL in an id", post(jsonType, `{"topic":"t","event_id":"\u0000","timestamp":"2026-11-23T06:41:10Z"}`), 422, "invalid_text"},
		{"key twice", post(jsonType, oneEvent("h", `,"topic":"u"`)), 422, "repeated_field"},
		{"key in capitals", post(jsonType, oneEvent("h", `,"Event_ID":"u"`)), 422, "unknown_field"},
		{"100 levels over the bound", post(jsonType, oneEvent("h", `,"payload":`+strings.Repeat("[", 10_100)+strings.Repeat("]", 10_100))), 400, "malformed"},
		{"missing topic", post(jsonType, `{"event_id":"h","timestamp":"2026-11-23T06:41:10Z"}`), 422, "missing_field"},
		{"null source", post(jsonType, oneEvent("h", `,"source":null`)), 422, "invalid_type"},
		{"256-byte id", post(jsonType, oneEvent(strings.Repeat("h", 256))), 422, "invalid_length"},
		{"time without an offset", post(jsonType, `{"topic":"t","event_id":"h","timestamp":"2026-11-23T06:41:10"}`), 422, "invalid_timestamp"},
		{"leap second in mid-year", post(jsonType, `{"topic":"t","event_id":"h","timestamp":"2026-06-15T23:59:60Z"}`), 422, "invalid_timestamp"},
		{"gzip bomb", post(jsonType+"Content-Encoding: gzip\r\n", bomb), 413, "too_large"},
		{"not gzip", post(jsonType+"Content-Encoding: gzip\r\n", oneEvent("h")), 400, "malformed"},
		{"not zstd", post(jsonType+"Content-Encoding: zstd\r\n", oneEvent("h")), 400, "malformed"},
		{"cut gzip", post(jsonType+"Content-Encoding: gzip\r\n", gzipped(oneEvent("h"))[:40]), 400, "malformed"},
		{"unknown encoding", post(jsonType+"Content-Encoding: br\r\n", oneEvent("h")), 415, "unsupported_media_type"},
		{"multipart", post("Content-Type: multipart/form-data; boundary=x\r\n", "--x--"), 415, "unsupported_media_type"},
		{"text", post("Content-Type: text/plain\r\n", oneEvent("h")), 415, "unsupported_media_type"},
		{"latin-1", post("Content-Type: application/json; charset=iso-8859-1\r\n", oneEvent("h")), 415, "unsupported_media_type"},
		{"one byte over", post(jsonType, strings.Repeat(" ", smallBody+1)), 413, "too_large"},
		{"a length that lies far", "POST /publish HTTP/1.1\r\nHost: x\r\n" + jsonType + "Content-Length: 99999999999\r\n\r\n", 413, "too_large"},
		{"negative length", "POST /publish HTTP/1.1\r\nHost: x\r\n" + jsonType + "Content-Length: -1\r\n\r\n", 400, "malformed"},
		{"length is not a number", "POST /publish HTTP/1.1\r\nHost: x\r\n" + jsonType + "Content-Length: ten\r\n\r\n", 400, "malformed"},
		{"two lengths", "POST /publish HTTP/1.1\r\nHost: x\r\n" + jsonType + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", 400, "malformed"},
		{"bad chunk size", "POST /publish HTTP/1.1\r\nHost: x\r\n" + jsonType + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", 400, "malformed"},
		{"headers over the bound", post(jsonType+"X: "+strings.Repeat("x", 20<<10)+"\r\n", oneEvent("h")), 431, "too_large"},
		{"not HTTP", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, "malformed"},
		{"unknown path", get("/nope"), 404, "not_found"},
		{"path with a NUL", get("/events%00"), 404, "not_found"},
		{"wrong method", get("/publish"), 405, "method_not_allowed"},
		{"unknown method", "BREW /events HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method_not_allowed"},
		{"unknown query key", get("/events?offset=1"), 400, "invalid_query"},
		{"query key twice", get("/events?after=1&after=2"), 400, "invalid_query"},
		{"unknown ack", strings.Replace(post(jsonType, oneEvent("h")), "/publish", "/publish?ack=disk", 1), 400, "invalid_query"},
		{"results that cannot be known", strings.Replace(post(jsonType, oneEvent("h")), "/publish", "/publish?results=true", 1), 400, "invalid_query"},
		{"limit 0", get("/events?limit=0"), 400, "invalid_query"},
		{"limit -1", get("/events?limit=-1"), 400, "invalid_query"},
		{"limit abc", get("/events?limit=abc"), 400, "invalid_query"},
		{"limit 1e9", get("/events?limit=1e9"), 400, "invalid_query"},
		{"limit 10001", get("/events?limit=10001"), 400, "invalid_query"},
		{"forged cursor", get("/events?after=9223372036854775808"), 400, "invalid_query"},
		{"empty topic", get("/events?topic="), 400, "invalid_query"},
		{"topic that cannot be decoded", get("/events?topic=%zz"), 400, "invalid_query"},
		{"topic that ends in the middle of a byte", get("/events?topic=a%2"), 400, "invalid_query"},
		{"NUL in topic", get("/events?topic=a%00b"), 400, "invalid_query"},
		{"topic that is not UTF-8", get("/events?topic=%ff"), 400, "invalid_query"},
		{"topic longer than any", get("/events?topic=" + strings.Repeat("%c3%a9", 128)), 400, "invalid_query"},
		{"empty topic of a stream", get("/events/stream?topic="), 400, "invalid_query"},
		{"topic of a stream that cannot be decoded", get("/events/stream?topic=%zz"), 400, "invalid_query"},
		{"NUL in a stream's topic", get("/events/stream?topic=a%00b"), 400, "invalid_query"},
		{"topic of a stream that is not UTF-8", get("/events/stream?topic=%ff"), 400, "invalid_query"},
		{"topic of a stream longer than any", get("/events/stream?topic=" + strings.Repeat("t", 256)), 400, "invalid_query"},
		{"bare true", post(jsonType, "true"), 400, "malformed"},
		{"empty events", post(jsonType, `{"events":{}}`), 400, "malformed"},
		{"UTF-16 with its other mark", post(jsonType, "\xfe\xff\x00{"), 400, "malformed"},
		{"unknown key", post(jsonType, oneEvent("h", `,"level":"info"`)), 422, "unknown_field"},
		{"100 000 levels", post(jsonType, strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)), 400, "malformed"},
		{"missing event_id", post(jsonType, `{"topic":"t","timestamp":"2026-11-23T06:41:10Z"}`), 422, "missing_field"},
		{"missing timestamp", post(jsonType, `{"topic":"t","event_id":"h"}`), 422, "missing_field"},
		{"null topic", post(jsonType, `{"topic":null,"event_id":"h","timestamp":"2026-11-23T06:41:10Z"}`), 422, "invalid_type"},
		{"null event_id", post(jsonType, `{"topic":"t","event_id":null,"timestamp":"2026-11-23T06:41:10Z"}`), 422, "invalid_type"},
		{"null timestamp", post(jsonType, `{"topic":"t","event_id":"h","timestamp":null}`), 422, "invalid_type"},
		{"number as topic", post(jsonType, `{"topic":1,"event_id":"h","timestamp":"2026-11-23T06:41:10Z"}`), 422, "invalid_type"},
		{"array as event_id", post(jsonType, `{"topic":"t","event_id":["h"],"timestamp":"2026-11-23T06:41:10Z"}`), 422, "invalid_type"},
		{"number as timestamp", post(jsonType, `{"topic":"t","event_id":"h","timestamp":1795416070}`), 422, "invalid_type"},
		{"object as source", post(jsonType, oneEvent("h", `,"source":{}`)), 422, "invalid_type"},
		{"empty topic of an event", post(jsonType, `{"topic":"","event_id":"h","timestamp":"2026-11-23T06:41:10Z"}`), 422, "invalid_length"},
		{"empty event_id", post(jsonType, `{"topic":"t","event_id":"","timestamp":"2026-11-23T06:41:10Z"}`), 422, "invalid_length"},
		{"empty timestamp", post(jsonType, `{"topic":"t","event_id":"h","timestamp":""}`), 422, "invalid_timestamp"},
		{"256-byte topic", post(jsonType, `{"topic":"`+strings.Repeat("t", 256)+`","event_id":"h","timestamp":"2026-11-23T06:41:10Z"}`), 422, "invalid_length"},
		{"256-byte source", post(jsonType, oneEvent("h", `,"source":"`+strings.Repeat("s", 256)+`"`)), 422, "invalid_length"},
		{"more events than a request may have", post(jsonType, "["+strings.Repeat("0,", 100_000)+"0]"), 413, "too_large"},
		{"more lines than a request may have", post("Content-Type: application/x-ndjson\r\n", strings.Repeat("0\n", 100_001)), 413, "too_large"},
		{"more events than may ever wait", post(jsonType, "["+strings.Repeat(oneEvent("h")+",", fewEvents)+oneEvent("h")+"]"), 413, "too_large"},
		{"time too long", post(jsonType, `{"topic":"t","event_id":"h","timestamp":"2026-11-23T06:41:10.`+strings.Repeat("0", 60)+`Z"}`), 422, "invalid_timestamp"},
		{"topic of 256 bytes and 128 letters", post(jsonType, `{"topic":"`+strings.Repeat("é", 128)+`","event_id":"h","timestamp":"2026-11-23T06:41:10Z"}`), 422, "invalid_length"},
		{"cut zstd", post(jsonType+"Content-Encoding: zstd\r\n", zstdOf([]byte(oneEvent("h")))[:40]), 400, "malformed"},
		{"SQL in topic", get("/events?topic=%27%3B%20DROP%20TABLE%20events%3B%20--"), 200, ""}, // a topic as any other
		{"SQL in results", strings.Replace(post(jsonType, oneEvent("h")), "/publish", "/publish?ack=store&results=true%27--", 1), 400, "invalid_query"},
		{"dead letters, limit 0", get("/dead-letters?limit=0"), 400, "invalid_query"},
		{"dead letters, limit -1", get("/dead-letters?limit=-1"), 400, "invalid_query"},
		{"dead letters, limit abc", get("/dead-letters?limit=abc"), 400, "invalid_query"},
		{"dead letters, limit 1e9", get("/dead-letters?limit=1e9"), 400, "invalid_query"},
		{"zstd bomb", post(jsonType+"Content-Encoding: zstd\r\n", zstdOf(make([]byte, 64*smallBody))), 413, "too_large"},
		{"a zstd window beyond the bound", post(jsonType+"Content-Encoding: zstd\r\n", "\x28\xb5\x2f\xfd\x00\xf8\x01\x00\x00"), 400, "malformed"},
		{"chunked, one byte over", "POST /publish HTTP/1.1\r\nHost: x\r\n" + jsonType + "Transfer-Encoding: chunked\r\n\r\n" +
			fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", smallBody+1, strings.Repeat(" ", smallBody+1)), 413, "too_large"},
		{"Expect with a length that lies far", "POST /publish HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n" + jsonType + "Content-Length: 99999999999\r\n\r\n", 413, "too_large"},
		{"Expect on an unknown path", "POST /nope HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n", 404, "not_found"},
		{"negative chunk", "POST /publish HTTP/1.1\r\nHost: x\r\n" + jsonType + "Transfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n", 400, "malformed"},
		{"chunk size that overflows", "POST /publish HTTP/1.1\r\nHost: x\r\n" + jsonType + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}\r\n0\r\n\r\n", 400, "malformed"},
		{"chunk longer than it says", "POST /publish HTTP/1.1\r\nHost: x\r\n" + jsonType + "Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n", 400, "malformed"},
		{"chunked and a length", "POST /publish HTTP/1.1\r\nHost: x\r\n" + jsonType + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "malformed"},
		{"Transfer-Encoding that is not chunked", "POST /publish HTTP/1.1\r\nHost: x\r\n" + jsonType + "Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n", 400, "malformed"},
		{"Transfer-Encoding chunked twice", "POST /publish HTTP/1.1\r\nHost: x\r\n" + jsonType + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400, "malformed"},
		{"HEAD of an unknown path", strings.Replace(get("/nope"), "GET", "HEAD", 1), 404, ""},
		{"path that cannot be decoded", get("/events%zz"), 404, "not_found"},
		{"query that cannot be decoded", get("/events?%zz=1"), 400, "invalid_query"},
		{"NUL in after", get("/events?after=%00"), 400, "invalid_query"},
		{"SQL in after", get("/events?after=1;DROP%20TABLE%20events"), 400, "invalid_query"},
		{"SQL in limit", get("/events?limit=1%27--"), 400, "invalid_query"},
		{"SQL in ack", strings.Replace(post(jsonType, oneEvent("h")), "/publish", "/publish?ack=store%27--", 1), 400, "invalid_query"},
		{"SQL in histograms", get("/stats?histograms=1%27--"), 400, "invalid_query"},
		{"negative cursor", get("/events?after=-1"), 400, "invalid_query"},
		{"negative Last-Event-ID", "GET /events/stream HTTP/1.1\r\nHost: x\r\nLast-Event-ID: -1\r\n\r\n", 400, "invalid_query"},
		{"time with a comma", post(jsonType, `{"topic":"t","event_id":"h","timestamp":"2026-11-23T06:41:10,5Z"}`), 422, "invalid_timestamp"},
		{"time with a one-digit hour", post(jsonType, `{"topic":"t","event_id":"h","timestamp":"2026-11-23T1:00:00Z"}`), 422, "invalid_timestamp"},
		{"year 0", post(jsonType, `{"topic":"t","event_id":"h","timestamp":"0000-01-01T00:00:00Z"}`), 422, "invalid_timestamp"},
		{"year 10000", post(jsonType, `{"topic":"t","event_id":"h","timestamp":"10000-01-01T00:00:00Z"}`), 422, "invalid_timestamp"},
		{"offset +99:99", post(jsonType, `{"topic":"t","event_id":"h","timestamp":"2026-11-23T06:41:10+99:99"}`), 422, "invalid_timestamp"},
		{"month 13", post(jsonType, `{"topic":"t","event_id":"h","timestamp":"2026-13-01T00:00:00Z"}`), 422, "invalid_timestamp"},
		{"SQL in Last-Event-ID", "GET /events/stream HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 1' OR '1'='1\r\n\r\n", 400, "invalid_query"},
		{"SQL in dead-letters' after", get("/dead-letters?after=1%27--"), 400, "invalid_query"},
		{"a query key with a line end", get("/events?x%0d%0aSet-Cookie:a=b"), 400, "invalid_query"},
		{"path out of the root", get("/../../etc/passwd"), 404, "not_found"},
		{"no Host", "GET /livez HTTP/1.1\r\n\r\n", 400, "malformed"},
		{"HTTP/0.9", "GET /livez\r\n\r\n", 400, "malformed"},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "malformed"},
		{"a request line over the bound", get("/" + strings.Repeat("a", 20<<10)), 431, "too_large"},
		{"CONNECT", "CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n", 404, "not_found"},
		{"TRACE", "TRACE /livez HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method_not_allowed"},
		{"HEAD of publish", strings.Replace(get("/publish"), "GET", "HEAD", 1), 405, ""},
		{"gzip twice", post(jsonType+"Content-Encoding: gzip, gzip\r\n", oneEvent("h")), 415, "unsupported_media_type"},
		{"bad Last-Event-ID", "GET /events/stream HTTP/1.1\r\nHost: x\r\nLast-Event-ID: x\r\n\r\n", 400, "invalid_query"},
	}
}

// send writes raw bytes to a connection of its own and reads one answer.
func send(t *testing.T, addr, request string) (status int, body []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(requestTimeout)); err != nil {
		t.Fatal(err)
	}
	// The server may answer and close before it has read all: that is no error here.
	go io.WriteString(conn, request)
	method, _, _ := strings.Cut(request, " ") // an answer to HEAD has no body
	answer, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return 0, nil
	}
	defer answer.Body.Close()
	body, _ = io.ReadAll(answer.Body)
	return answer.StatusCode, body
}

// TestHostileInput sends each hostile request, checks its answer, and that a good request right
// after it is stored as the next event: nothing of the hostile one was. Sent again and again, they
// leave no goroutine and no descriptor behind.
func TestHostileInput(t *testing.T) {
	a := start(t, t.TempDir()+"/data", "-max-body-bytes", fmt.Sprint(smallBody), "-queue-events", fmt.Sprint(fewEvents))
	addr := a.Addr
	good := 0
	for _, tc := range hostile() {
		t.Run(tc.name, func(t *testing.T) {
			status, body := send(t, addr, tc.request)
			if status != tc.status {
				t.Errorf("status %d, want %d: %s", status, tc.status, body)
			}
			if tc.code != "" {
				var problem struct {
					Status int
					Code   string
					Errors []struct{ Code string }
				}
				err := json.Unmarshal(body, &problem)
				if tc.status == 422 && len(problem.Errors) == 1 {
					problem.Status, problem.Code = tc.status, problem.Errors[0].Code
				}
				if err != nil || problem.Code != tc.code || problem.Status != tc.status {
					t.Errorf("answer %s, want code %s", body, tc.code)
				}
			}
			good++
			request := post(jsonType, oneEvent(fmt.Sprint("good-", good)))
			status, body = send(t, addr, strings.Replace(request, "/publish", "/publish?ack=store&results=true", 1))
			if want := fmt.Sprintf(`"results":[{"index":0,"status":"stored","seq":%d}]`, good); status != 200 || !strings.Contains(string(body), want) {
				t.Fatalf("a good request after it: %d %s, want %s", status, body, want)
			}
		})
	}
	a.checkStored(t, good)

	const again = 5
	goroutines, descriptors := a.held(t)
	for range again {
		for _, tc := range hostile() {
			send(t, addr, tc.request)
		}
	}
	for deadline := time.Now().Add(leakTimeout); ; time.Sleep(100 * time.Millisecond) {
		g, d := a.held(t)
		if g < goroutines+again && d < descriptors+again {
			t.Logf("%d goroutines and %d descriptors, before %d and %d", g, d, goroutines, descriptors)
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines and %d descriptors, before %d and %d", g, d, goroutines, descriptors)
		}
	}
	a.stop(t)
}

// leakTimeout is more than the 10 s for which fasthttp keeps an idle goroutine for the next
// connection.
const leakTimeout = 15 * time.Second

// held is what the process holds: goroutines and open file descriptors.
func (a *aggregator) held(t *testing.T) (goroutines, descriptors int) {
	t.Helper()
	metrics, err := metricsOf(t.Context(), a.client, a.Admin)
	if err != nil {
		t.Fatal(err)
	}
	goroutines, descriptors = int(metrics["go_goroutines"]), int(metrics["process_open_fds"])
	if goroutines == 0 || descriptors == 0 {
		t.Fatalf("/metrics has neither goroutines nor descriptors: %v", metrics)
	}
	return goroutines, descriptors
}

// TestOneBadEvent: among 999 good ones it is named by its index, and it alone is not stored.
func TestOneBadEvent(t *testing.T) {
	const events, index = 1000, 617
	for code, bad := range map[string]string{
		"missing_field":     `{"topic":"t","event_id":"bad"}`,
		"unknown_field":     oneEvent("bad", `,"level":1`),
		"repeated_field":    oneEvent("bad", `,"topic":"t"`),
		"invalid_type":      oneEvent("bad", `,"source":1`),
		"invalid_length":    oneEvent("bad", `,"source":"`+strings.Repeat("s", 256)+`"`),
		"invalid_text":      oneEvent("bad", `,"source":"\u0000"`),
		"invalid_timestamp": `{"topic":"t","event_id":"bad","timestamp":"0000-01-01T00:00:00Z"}`,
		"invalid_json":      `{"topic":"t","event_id":"bad"`, // of NDJSON only: in an array it would be no array
	} {
		t.Run(code, func(t *testing.T) {
			a := start(t, dataFolder(t))
			var batch []string
			for i := range events - 1 {
				batch = append(batch, oneEvent(fmt.Sprint("good-", i)))
			}
			batch = slices.Insert(batch, index, bad)
			bodies := map[string]string{"application/x-ndjson": strings.Join(batch, "\n")}
			if code != "invalid_json" {
				bodies["application/json"] = "[" + strings.Join(batch, ",") + "]"
			}
			for contentType, body := range bodies {
				status, text := send(t, a.Addr, post("Content-Type: "+contentType+"\r\n", body))
				var answer struct {
					Accepted, Rejected int
					Errors             []struct {
						Index int
						Code  string
					}
				}
				if err := json.Unmarshal(text, &answer); err != nil || status != 202 {
					t.Fatalf("%s: %d %s %v", contentType, status, text, err)
				}
				if answer.Accepted != events-1 || answer.Rejected != 1 || len(answer.Errors) != 1 || answer.Errors[0].Index != index || answer.Errors[0].Code != code {
					t.Errorf("%s: %s, want %d accepted, and %s at %d", contentType, text, events-1, code, index)
				}
			}
			if c := a.drained(t); c.Unique != events-1 || c.Duplicates != (len(bodies)-1)*(events-1) {
				t.Errorf("%+v, want %d stored", c, events-1)
			}
			if bytes.Contains(a.export(t), []byte(`"bad"`)) {
				t.Error("the bad event is stored")
			}
		})
	}
}

// checkStored waits for the drain and counts what is stored.
func (a *aggregator) checkStored(t *testing.T, want int) {
	t.Helper()
	deadline := time.Now().Add(drainTimeout)
	for {
		_, body := send(t, a.Addr, get("/stats"))
		var s struct {
			Depth  int `json:"queue_depth"`
			Unique int `json:"unique_processed"`
		}
		if err := json.Unmarshal(body, &s); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		if s.Depth == 0 {
			if s.Unique != want {
				t.Fatalf("%d stored, want %d", s.Unique, want)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not drained: %s", body)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestUnusualButValid is the other side: strange, and to be kept byte for byte.
func TestUnusualButValid(t *testing.T) {
	a := start(t, t.TempDir()+"/data")
	addr := a.Addr
	payloads := map[string]string{
		"big integer": `123456789012345678901234567890`,
		"1e400":       `1e400`,
		"spaces":      `{ "a" : [ 1 , 2 ] }`,
		"escapes":     `"\u00e9\/\n"`,
		"twice":       `{"a":1,"a":2}`,
		"null":        `null`,
		"deep":        strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
	}
	ids := map[string]string{"sql": `'; DROP TABLE events; --`, "composed": "\u00e9", "decomposed": "e\u0301", "255": strings.Repeat("x", 255)}
	n := 0
	for name, payload := range payloads {
		if status, body := send(t, addr, post(jsonType, oneEvent(name, `,"payload":`+payload))); status != 202 {
			t.Fatalf("%s: %d %s", name, status, body)
		}
		n++
	}
	for _, id := range ids {
		if status, body := send(t, addr, post(jsonType, oneEvent(id))); status != 202 {
			t.Fatalf("%q: %d %s", id, status, body)
		}
		n++
	}
	// The same id with another payload: the first wins.
	if status, _ := send(t, addr, post(jsonType, oneEvent("1e400", `,"payload":2`))); status != 202 {
		t.Fatal(status)
	}
	a.checkStored(t, n)
	_, body := send(t, addr, get("/events?limit=1000&topic="+url.QueryEscape("t")))
	var page struct {
		Events []struct {
			ID      string          `json:"event_id"`
			Payload json.RawMessage `json:"payload"`
		} `json:"events"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, e := range page.Events {
		seen[e.ID] = true
		if want, ok := payloads[e.ID]; ok && string(e.Payload) != want {
			t.Errorf("%s came back as %.80s", e.ID, e.Payload)
		}
	}
	for _, id := range ids {
		if !seen[id] {
			t.Errorf("%q is not stored", id)
		}
	}
	if len(page.Events) != n {
		t.Errorf("%d events, want %d", len(page.Events), n)
	}
}
