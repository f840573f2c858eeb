package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"sekali/internal/settings"
)

// healthcheck asks a running aggregator whether it is ready: 0 yes, 1 no, 2 bad usage.
// It serves images that hold no shell and no curl.
func healthcheck(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("healthcheck", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	own := readyURL(os.Getenv("SEKALI_LISTEN"), os.Getenv("SEKALI_TLS_CERT") != "")
	url := flags.String("url", own, "`URL` to ask")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		settings.Help(stdout, "usage: aggregator healthcheck [-url URL]\n\nExit 0: ready. 1: not ready within 3 s, and it says why. 2: bad usage.\n", flags)
		return 0
	} else if err != nil || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "aggregator: usage: aggregator healthcheck [-url URL]")
		return 2
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, *url, nil)
	if err != nil {
		fmt.Fprintln(stderr, "aggregator:", err)
		return 2
	}
	// A certificate names the server as others call it; its own machine calls it by an address.
	unnamed := *url == own || net.ParseIP(request.URL.Hostname()).IsLoopback()
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: unnamed}}}
	response, err := client.Do(request)
	if err != nil {
		fmt.Fprintln(stderr, "aggregator: not ready:", err)
		return 1
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		var why struct{ Code, Detail string }
		_ = json.NewDecoder(io.LimitReader(response.Body, 4<<10)).Decode(&why) // of another program, or a proxy, it may be anything
		if why.Code != "" {
			response.Status += ", " + why.Code + ": " + why.Detail
		}
		fmt.Fprintln(stderr, "aggregator: not ready:", response.Status)
		return 1
	}
	return 0
}

// readyURL is where an aggregator that listens on address, or on the default, says
// that it is ready. An address for all interfaces is asked on loopback.
func readyURL(address string, secure bool) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host, port = "127.0.0.1", "8080"
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "http://"
	if secure {
		scheme = "https://"
	}
	return scheme + net.JoinHostPort(host, port) + "/readyz"
}
