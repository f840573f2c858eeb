package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"sekali/loadgen/stream"
)

// requestTimeout bounds one request, and each question about what is stored.
const requestTimeout = 60 * time.Second

// newHTTPClient keeps a connection open for each of those that append.
func newHTTPClient(connections int) *http.Client {
	return &http.Client{Timeout: requestTimeout,
		Transport: &http.Transport{Proxy: nil, MaxIdleConnsPerHost: connections, DisableCompression: true}}
}

// post sends a body and returns the answer's status.
func post(ctx context.Context, client *http.Client, url, contentType string, body []byte) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", contentType)
	answer, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}

// get hands the body of an answer to read; any status but 200 is an error.
func get(ctx context.Context, client *http.Client, url, accept string, read func(io.Reader) error) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if accept != "" {
		request.Header.Set("Accept", accept)
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, answer.Status)
	}
	return read(answer.Body)
}

// lines are events as JSON, one a line: the body that the systems with HTTP take.
func lines(events []stream.Event) []byte {
	var body []byte
	for _, e := range events {
		body = append(body, `{"topic":"`...)
		body = append(body, e.Topic...)
		body = append(body, `","event_id":"`...)
		body = append(body, e.EventID...)
		body = append(body, `","timestamp":"`...)
		body = append(body, e.Timestamp...)
		body = append(body, `","source":"`...)
		body = append(body, e.Source...)
		body = append(body, `","payload":`...)
		body = append(body, e.Payload...)
		body = append(body, "}\n"...)
	}
	return body
}
