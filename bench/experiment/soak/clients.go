package soak

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// read pages through the events from a random place on: one reader by topic, the others by seq.
func (s *soaking) read(ctx context.Context, i int) {
	client := newClient()
	defer client.CloseIdleConnections()
	random := rand.New(rand.NewPCG(41, uint64(i)))
	after := int64(0)
	for ctx.Err() == nil {
		query := url.Values{"limit": {"500"}, "after": {strconv.FormatInt(after, 10)}}
		if i == 0 {
			query.Set("topic", "topic-0")
		}
		last, ok := s.page(client, query)
		if after = 0; ok {
			s.pages.Add(1)
			after = last
		}
		if random.IntN(20) == 0 {
			after = random.Int64N(after + 1)
		}
		select {
		case <-ctx.Done():
		case <-time.After(readPause):
		}
	}
}

// page reads one page and returns the seq of its last event; false if there is none.
func (s *soaking) page(client *http.Client, query url.Values) (last int64, ok bool) {
	answer, err := client.Get("http://" + s.addr + "/events?" + query.Encode())
	if err != nil {
		return 0, false // it was killed
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusServiceUnavailable {
		s.broken("GET /events?%s: status %d", query.Encode(), answer.StatusCode)
	}
	var page struct {
		Events []struct {
			Seq int64 `json:"seq"`
		} `json:"events"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&page); err != nil || len(page.Events) == 0 {
		return 0, false
	}
	return page.Events[len(page.Events)-1].Seq, true
}

// dawdle sends requests a byte at a time, which the server ends sooner or later.
func (s *soaking) dawdle(ctx context.Context) {
	body := "POST /publish HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n[" + strings.Repeat(" ", 1000)
	for ctx.Err() == nil {
		c, err := net.DialTimeout("tcp", s.addr, time.Second)
		for i := 0; err == nil && i < len(body); i++ {
			_ = c.SetDeadline(time.Now().Add(time.Second))
			_, err = c.Write([]byte{body[i]})
			select {
			case <-ctx.Done():
				err = ctx.Err()
			case <-time.After(slowPause):
			}
		}
		if c != nil {
			c.Close()
		}
		select {
		case <-ctx.Done():
		case <-time.After(slowPause):
		}
	}
}
