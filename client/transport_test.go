package client_test

import (
	"io"
	"net/http"
	"strings"
)

// transport answers requests without a network.
type transport func(*http.Request) *http.Response

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
	return f(r), nil
}

// respond makes an answer, with pairs of header and value.
func respond(status int, body string, header ...string) *http.Response {
	w := &http.Response{StatusCode: status, Status: http.StatusText(status), Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
	for i := 0; i < len(header); i += 2 {
		w.Header.Set(header[i], header[i+1])
	}
	return w
}
