package integration_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// getThrough wants probes and publishers served, each on a connection of its own.
func (a *aggregator) getThrough(t *testing.T, who string) {
	t.Helper()
	const requests = 60
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: requestTimeout}
	statuses := map[string]int{}
	for i := range requests {
		answer, err := client.Get(a.URL + "/livez")
		if err != nil {
			statuses[fmt.Sprintf("livez %v", err)]++
		} else {
			answer.Body.Close()
			statuses["livez "+answer.Status]++
		}
		answer, err = client.Post(a.URL+"/publish", "application/json", strings.NewReader(oneEvent(fmt.Sprint(who, i))))
		if err != nil {
			statuses[fmt.Sprintf("publish %v", err)]++
		} else {
			var problem struct{ Code string }
			_ = json.NewDecoder(answer.Body).Decode(&problem) // an acceptance has none
			answer.Body.Close()
			statuses[strings.TrimSpace("publish "+answer.Status+" "+problem.Code)]++
		}
	}
	if statuses["livez 200 OK"] != requests || statuses["publish 202 Accepted"] != requests {
		t.Errorf("beside %s: %v, want all of %d", who, statuses, requests)
	}
}

// TestUnreadPipelinesHoldNoSlots: connections that pipeline requests and read no answer make room
// for others.
func TestUnreadPipelinesHoldNoSlots(t *testing.T) {
	t.Parallel()
	const clients = 512
	a := start(t, dataFolder(t))
	requests := []byte(strings.Repeat(get("/livez"), 1000))
	var writing sync.WaitGroup
	for range clients {
		conn, err := net.Dial("tcp", a.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetWriteDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		writing.Go(func() {
			for err := error(nil); err == nil; {
				_, err = conn.Write(requests)
			}
		})
	}
	writing.Wait()
	time.Sleep(1500 * time.Millisecond) // for longer than a connection that is not read keeps its place
	a.getThrough(t, "unread")
	if c := a.drained(t); c.Unique != 60 {
		t.Errorf("%+v, want 60", c)
	}
}

// TestHungUpPublishersHoldNoSlots: publishers at store who hung up while nothing can be committed
// leave connections for probes and for publishers at journal, and their events are stored once it
// can.
func TestHungUpPublishersHoldNoSlots(t *testing.T) {
	const clients = 700
	data := dataFolder(t)
	a := start(t, data)
	db := openDatabase(t, data)
	defer db.Close()
	if _, err := db.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	for i := range clients {
		conn, err := net.Dial("tcp", a.Addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, strings.Replace(post(jsonType, oneEvent(fmt.Sprint("gone", i))), "/publish", "/publish?ack=store", 1))
		conn.Close()
	}
	time.Sleep(1500 * time.Millisecond) // for longer than a connection that waits for a request keeps its place
	a.getThrough(t, "hung up")
	if _, err := db.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if c := a.drained(t); c.Unique == 0 || c.Unique > 60+clients {
		t.Errorf("%+v, want of 60 and %d those that were taken", c, clients)
	}
}
