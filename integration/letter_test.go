package integration_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestHTTPToTheLetter: what another reader of HTTP could take differently is refused, whatever
// stands behind it; what senders write in other forms is taken.
func TestHTTPToTheLetter(t *testing.T) {
	a := start(t, dataFolder(t))
	head := func(headers string, more ...string) string {
		event := oneEvent("letter", more...)
		return fmt.Sprintf("POST /publish HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n%s", headers, len(event), event)
	}
	event := oneEvent("letter")
	chunks := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(event), event)
	lines := oneEvent("l1") + "\n" + oneEvent("l2") + "\n"
	for name, tc := range map[string]struct {
		request string
		status  int
	}{
		"obs-fold":               {head(jsonType + "X: a\r\n b\r\n"), 400},
		"obs-fold by a tab":      {head(jsonType + "X: a\r\n\tb\r\n"), 400},
		"LF in headers":          {head(jsonType + "X: a\n"), 400},
		"LF after the line":      {strings.Replace(head(jsonType), "HTTP/1.1\r\n", "HTTP/1.1\n", 1), 400},
		"LF alone":               {strings.ReplaceAll(head(jsonType), "\r\n", "\n"), 400},
		"HTTP/2.0":               {strings.Replace(head(jsonType), "HTTP/1.1", "HTTP/2.0", 1), 505},
		"HTTP/1.2":               {strings.Replace(head(jsonType), "HTTP/1.1", "HTTP/1.2", 1), 505},
		"length, then encoding":  {fmt.Sprintf("POST /publish HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n%s", jsonType, len(chunks), chunks), 400},
		"encoding, then length":  {fmt.Sprintf("POST /publish HTTP/1.1\r\nHost: localhost\r\n%sTransfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n%s", jsonType, len(chunks), chunks), 400},
		"no Host":                {strings.Replace(head(jsonType), "Host: localhost\r\n", "", 1), 400},
		"x-gzip":                 {post(jsonType+"Content-Encoding: x-gzip\r\n", gzipped(event)), 202},
		"utf8":                   {head("Content-Type: application/json; charset=utf8\r\n"), 202},
		"UTF-8 in quotes":        {head("Content-Type: application/json; charset=\"UTF-8\"\r\n"), 202},
		"jsonl":                  {post("Content-Type: application/jsonl\r\n", lines), 202},
		"ndjson":                 {post("Content-Type: application/ndjson\r\n", lines), 202},
		"a mark before NDJSON":   {post("Content-Type: application/x-ndjson\r\n", "\xef\xbb\xbf"+lines), 202},
		"no type, object":        {post("", event), 202},
		"no type, object, lines": {post("", strings.ReplaceAll(event, ",", ",\n")), 202},
		"no type, array":         {post("", "["+event+"]"), 202},
		"no type, NDJSON":        {post("", lines), 202},
		"no type, text":          {post("", "hello"), 400},
		"a form":                 {post("Content-Type: application/x-www-form-urlencoded\r\n", event), 415},
		"/publish/":              {strings.Replace(head(jsonType), "/publish", "/publish/", 1), 404},
		"HTTP/1.0":               {strings.Replace(head(jsonType), "HTTP/1.1", "HTTP/1.0", 1), 202},
	} {
		request, most := tc.request, 1
		if tc.status >= 400 && tc.status != 404 && tc.status != 415 && !strings.HasPrefix(name, "no type") {
			request, most = request+get("/livez"), 2 // which must not be answered
		}
		if answers := a.pipeline(t, request, most); len(answers) != 1 || answers[0].status != tc.status {
			t.Errorf("%s: %+v, want one, %d", name, answers, tc.status)
		}
	}
	for path, want := range map[string]string{"/health": "/livez", "/metrics": "-admin", "/publish/": "there is /publish,", "/events/": "there is /events,"} {
		answer, err := a.client.Get(a.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != 404 || !strings.Contains(string(body), want) {
			t.Errorf("%s: %s %s, want where to go: %s", path, answer.Status, body, want)
		}
	}
	if c := a.drained(t); c.Unique != 3 {
		t.Errorf("%+v, want the three events", c)
	}
	for accept, want := range map[string]string{
		"application/x-ndjson": "application/x-ndjson", "application/jsonl": "application/jsonl", "application/json": "application/json", "*/*": "application/json", "": "application/json",
		"application/json, application/x-ndjson;q=0.5": "application/json", "application/x-ndjson;q=0.5, application/json;q=0.4": "application/x-ndjson",
		"application/x-ndjson;q=0": "application/json", "application/x-ndjson;q=0.000, */*": "application/json", "application/x-ndjson, */*;q=0.8": "application/x-ndjson",
	} {
		request, _ := http.NewRequest(http.MethodGet, a.URL+"/events", nil)
		request.Header.Set("Accept", accept)
		answer, err := a.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if kind := answer.Header.Get("Content-Type"); kind != want {
			t.Errorf("Accept %q: %s, want %s", accept, kind, want)
		}
	}
}

// TestHTTP10HasNoChunks: exports and streams go to HTTP/1.0 as they are, until the connection ends.
func TestHTTP10HasNoChunks(t *testing.T) {
	a := start(t, dataFolder(t))
	a.store(t, "t", "1", "2", "3")
	exported := a.export(t)
	for _, connection := range []string{"", "Connection: keep-alive\r\n"} {
		conn, err := net.Dial("tcp", a.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(requestTimeout)); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET /events HTTP/1.0\r\nAccept: application/x-ndjson\r\n%s\r\n", connection)
		all, err := io.ReadAll(conn)
		head, body, _ := strings.Cut(string(all), "\r\n\r\n")
		if err != nil || strings.Contains(strings.ToLower(head), "transfer-encoding") || !strings.HasPrefix(head, "HTTP/1.") || body != string(exported) {
			t.Errorf("%v\n%s\n\n%s", err, head, body)
		}
		stream, err := net.Dial("tcp", a.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		if err := stream.SetDeadline(time.Now().Add(requestTimeout)); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(stream, "GET /events/stream?after=2 HTTP/1.0\r\n%s\r\n", connection)
		r := bufio.NewReader(stream)
		var got strings.Builder
		for !strings.Contains(got.String(), "data: ") {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err, got.String())
			}
			got.WriteString(line)
		}
		_, body, _ = strings.Cut(got.String(), "\r\n\r\n")
		if !strings.HasPrefix(body, "retry: 1000\nid: 2\n\nid: 3\ndata: {") {
			t.Errorf("stream:\n%s", got.String())
		}
	}
}

// TestForeignPages: a web page of another domain reaches neither the API nor the profiles of an
// aggregator on the loopback that has no token, be it by binding its name to 127.0.0.1.
func TestForeignPages(t *testing.T) {
	a := start(t, dataFolder(t))
	for _, tc := range []struct {
		base, path, host, origin string
		status                   int
	}{
		{a.URL, "/stats", "rebind.example.com:8080", "", 403},
		{a.URL, "/livez", "rebind.example.com", "", 403},
		{a.URL, "/stats", "localhost.example.com", "", 403},
		{a.URL, "/stats", "", "https://example.com", 403},
		{a.URL, "/stats", "", "null", 403},
		{a.URL, "/stats", "localhost:8080", "", 200},
		{a.URL, "/stats", "LOCALHOST", "", 200},
		{a.URL, "/stats", "[::1]:8080", "", 200},
		{a.URL, "/stats", "aggregator:8080", "", 200},
		{a.URL, "/stats", "localhost:3000", "http://localhost:3000", 200},
		{a.URL, "/stats", "", "http://127.0.0.1:9999", 200},
		{a.Admin, "/debug/pprof/cmdline", "rebind.example.com", "", 403},
		{a.Admin, "/metrics", "rebind.example.com", "", 403},
		{a.Admin, "/metrics", "", "https://example.com", 403},
		{a.Admin, "/metrics", "", "", 200},
	} {
		request, err := http.NewRequest(http.MethodGet, tc.base+tc.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = tc.host
		if tc.origin != "" {
			request.Header.Set("Origin", tc.origin)
		}
		answer, err := a.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != tc.status {
			t.Errorf("%s, Host %q, Origin %q: %s, want %d", tc.path, tc.host, tc.origin, answer.Status, tc.status)
		}
	}
}

// TestTokenForms: the token is taken in each form in which senders can give it, and in no other.
func TestTokenForms(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		if err := os.WriteFile(token, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("s3cret")
	a := start(t, dataFolder(t), "-token-file", token)
	basic := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	for authorization, want := range map[string]int{
		"Bearer s3cret": 200, "bearer s3cret": 200, "BEARER  s3cret": 200, "Basic " + basic("any:s3cret"): 200, "basic " + basic(":s3cret"): 200,
		"Splunk s3cret": 200, "ApiKey " + basic("id:s3cret"): 200, "apikey s3cret": 200,
		"": 401, "Bearer": 401, "Bearer ": 401, "Bearer s3cre": 401, "s3cret": 401, "Basic s3cret": 401, "Basic " + basic("s3cret"): 401, "Basic " + basic("s3cret:"): 401, "Digest s3cret": 401,
	} {
		request, _ := http.NewRequest(http.MethodGet, a.URL+"/stats", nil)
		if authorization != "" {
			request.Header.Set("Authorization", authorization)
		}
		answer, err := a.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("Authorization %q: %s, want %d", authorization, answer.Status, want)
		}
	}
	for target, want := range map[string]int{"/stats?access_token=s3cret": 200, "/stats?access_token=": 401, "/stats?access_token=x": 401, "/stats?token=s3cret": 401} {
		answer, err := a.client.Get(a.URL + target)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s: %s, want %d", target, answer.Status, want)
		}
	}

	// A token that is replaced ends the streams that it let in, and no request of it is served.
	answer, err := a.client.Get(a.URL + "/events/stream?access_token=s3cret")
	if err != nil || answer.StatusCode != 200 {
		t.Fatal(answer, err)
	}
	defer answer.Body.Close()
	write("another")
	if err := a.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, answer.Body); ended <- err }()
	select {
	case <-ended:
	case <-time.After(requestTimeout):
		t.Error("the stream of a replaced token goes on")
	}
}
