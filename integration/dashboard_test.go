package integration_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"sekali/bench/labtest/chromiumtest"
)

// browserTimeout bounds the page in one browser's tab.
const browserTimeout = 60 * time.Second

// TestPageOrHandshake: a browser gets the page without a token, and it holds no data; a sender of
// Elasticsearch's gets its handshake, with the token.
func TestPageOrHandshake(t *testing.T) {
	a := guarded(t)
	for _, c := range []struct {
		accept, token, want string
		status              int
	}{
		{"text/html,*/*;q=0.8", "", "<!doctype html>", 200},
		{"*/*", "s3cret", "You Know, for Search", 200},
		{"application/json", "", "unauthorized", 401},
	} {
		request, err := http.NewRequest(http.MethodGet, a.URL+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", c.accept)
		if c.token != "" {
			request.Header.Set("Authorization", "Bearer "+c.token)
		}
		answer, err := a.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != c.status || !strings.Contains(string(body), c.want) {
			t.Errorf("Accept %s: %s %.80s", c.accept, answer.Status, body)
		}
		if c.accept != "*/*" && c.status == 200 && !strings.Contains(answer.Header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'sha256-") {
			t.Errorf("headers %v", answer.Header)
		}
	}
	open := start(t, dataFolder(t))
	if status, _ := send(t, open.Addr, "GET / HTTP/1.1\r\nHost: evil.example\r\nAccept: text/html\r\n\r\n"); status != 403 {
		t.Errorf("a foreign Host got %d", status)
	}
	if status, _ := send(t, open.Addr, "GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\nAccept: text/html\r\n\r\n"); status != 403 {
		t.Errorf("a foreign Origin got %d", status)
	}
}

func guarded(t *testing.T) *aggregator {
	t.Helper()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, dataFolder(t), "-token-file", token)
}

// watched are what a tab asked of others, and what its console said.
type watched struct {
	mu             sync.Mutex
	own            string
	others, faults []string
}

func (w *watched) listen(event any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, w.own) && !strings.HasPrefix(e.Request.URL, "data:") {
			w.others = append(w.others, e.Request.URL)
		}
	case *log.EventEntryAdded:
		if !strings.Contains(e.Entry.Text, "401") { // the first question, without a token
			w.faults = append(w.faults, e.Entry.Text)
		}
	}
}

// TestPageInChromium: the page, light, dark and on a phone, takes the token, shows figures and the
// newest events, goes on live, filters by topic, and runs nothing that an event holds.
func TestPageInChromium(t *testing.T) {
	t.Parallel()
	chrome := chromiumtest.Start(t)
	for _, v := range []struct {
		name, scheme string
		width        int64
	}{{"light", "light", 1280}, {"dark", "dark", 1280}, {"phone", "light", 390}} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			a := guarded(t)
			a.publishAs(t, "orders", `{"html":"<img src=x onerror=document.title='run'>"}`, 60)
			a.publishAs(t, "<b>topic</b>", `{"n":1}`, 3)
			w := &watched{own: a.URL + "/"}
			tab, cancel := chromedp.NewContext(chrome, chromedp.WithListener(w.listen))
			defer cancel()
			if err := chromedp.Do(tab); err != nil {
				t.Fatal(err)
			}
			tab, cancelTime := context.WithTimeout(tab, browserTimeout)
			defer cancelTime()
			_, err1 := chromedp.Call(tab, network.Enable, network.EnableParams{})
			_, err2 := chromedp.Call(tab, log.Enable, cdp.Empty{})
			_, err3 := chromedp.Call(tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: v.scheme}}})
			err := chromedp.Do(tab, chromedp.EmulateViewport(v.width, 900), chromedp.Navigate(a.URL+"/"))
			if err := errors.Join(err1, err2, err3, err); err != nil {
				t.Fatal(err)
			}
			until(t, tab, "the login has the focus", `document.activeElement.id === "token" && content.hidden`)
			evaluate[bool](t, tab, `(token.value = "wrong", login.requestSubmit(), true)`)
			until(t, tab, "a wrong token is refused", `refused.textContent !== "" && sessionStorage.length === 0`)
			evaluate[bool](t, tab, `(token.value = "s3cret", login.requestSubmit(), true)`)
			until(t, tab, "the newest events", `document.querySelector("tbody").rows.length === 50 && document.querySelector("tbody td").textContent === "63"`)
			a.publishAs(t, "live", `{"n":2}`, 2)
			until(t, tab, "live events", `document.querySelector("tbody td").textContent === "65"`)
			until(t, tab, "figures of two polls", `!/–/.test(document.querySelector("#figures dd").textContent) && document.querySelectorAll("path[d]").length === 4`)
			if dir := os.Getenv("SEKALI_SCREENSHOTS"); dir != "" {
				picture, err := chromedp.Run(tab, chromedp.FullScreenshot(100))
				if err := errors.Join(err, os.WriteFile(filepath.Join(dir, "dashboard-"+v.name+".png"), picture, 0o644)); err != nil {
					t.Error(err)
				}
			}
			evaluate[bool](t, tab, `(topic.value = "<b>topic</b>", topic.dispatchEvent(new Event("change")), true)`)
			until(t, tab, "one topic's events", `document.querySelector("tbody").rows.length === 3`)
			for what, is := range map[string]string{
				"fits the screen":              `document.documentElement.scrollWidth <= innerWidth`,
				"runs nothing":                 `document.title === "Sekali" && !document.querySelector("tbody img")`,
				"names its charts":             `[...document.querySelectorAll("svg")].every(s => s.getAttribute("aria-label"))`,
				"labels its fields":            `[...document.querySelectorAll("input, select")].every(f => f.labels.length === 1)`,
				"keeps the token in one place": `sessionStorage.getItem("token") === "s3cret" && localStorage.length === 0 && !document.cookie`,
				"reaches its table by key":     `document.getElementById("events").tabIndex === 0`,
			} {
				if !evaluate[bool](t, tab, is) {
					t.Errorf("not so: it %s", what)
				}
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if len(w.others) > 0 || len(w.faults) > 0 {
				t.Errorf("requests to others %q, faults %q", w.others, w.faults)
			}
		})
	}
}

// publishAs stores n events with the guarded aggregator's token.
func (a *aggregator) publishAs(t *testing.T, topic, payload string, n int) {
	t.Helper()
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, `{"topic":%q,"event_id":"%d","timestamp":"2026-11-23T06:41:10Z","payload":%s}`+"\n", topic, i, payload)
	}
	request, err := http.NewRequest(http.MethodPost, a.URL+"/publish?ack=store", strings.NewReader(lines.String()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer s3cret")
	request.Header.Set("Content-Type", "application/x-ndjson")
	answer, err := a.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != 200 {
		t.Fatalf("published: %s", answer.Status)
	}
}

func evaluate[T any](t *testing.T, tab context.Context, script string) T {
	t.Helper()
	value, err := chromedp.Run(tab, chromedp.Evaluate[T](script))
	if err != nil {
		t.Fatalf("%v: %s", err, script)
	}
	return value
}

// until waits until the page is so.
func until(t *testing.T, tab context.Context, what, script string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !evaluate[bool](t, tab, script); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not so: %s", what, evaluate[string](t, tab, "document.body.innerText"))
		}
	}
}
