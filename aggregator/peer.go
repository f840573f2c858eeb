package aggregator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sekali/aggregator/crash"
	"sekali/aggregator/internal/disk"
)

const (
	// peerPatience is how long a copy is asked for that the peer cannot make now, as while it makes
	// one for somebody else.
	peerPatience = time.Minute
	peerPause    = time.Second
	// peerMakes is how long the peer may take to make it, and peerStalls how long nothing may come of
	// an answer. A page of an export takes 20 s at most: half of that it waits for room.
	peerMakes  = 11 * time.Minute
	peerStalls = 30 * time.Second
	// peerProblem bounds what is read of an answer that is an error.
	peerProblem = 4 << 10
)

// peer is another aggregator, over HTTP.
type peer struct {
	url    string // without a slash at its end
	token  string
	client *http.Client
	stalls time.Duration // peerStalls, but in tests
}

// newPeer reads what is needed to ask an aggregator, whose answers begin within a time.
func (c *ClusterConfig) newPeer(url string, begins time.Duration) (*peer, error) {
	p := &peer{url: strings.TrimRight(url, "/"), stalls: peerStalls}
	token, err := secret("peer-token-file", c.PeerTokenFile)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	p.token = token
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.PeerCA != "" {
		pem, err := os.ReadFile(c.PeerCA)
		if err != nil {
			return nil, fmt.Errorf("%w: -peer-ca: %w", ErrConfig, err)
		}
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: -peer-ca: %s holds no certificate", ErrConfig, c.PeerCA)
		}
	}
	dialer := net.Dialer{Timeout: peerStalls}
	p.client = &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: secure, TLSHandshakeTimeout: peerStalls,
		ResponseHeaderTimeout: begins, Proxy: http.ProxyFromEnvironment}}
	return p, nil
}

// get asks for a path. The answer's body is the caller's to close. Reading it is an error where it
// stalls.
func (p *peer) get(ctx context.Context, path, accept string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
	if err != nil {
		return nil, err
	}
	if p.token != "" {
		request.Header.Set("Authorization", "Bearer "+p.token)
	}
	if accept != "" {
		request.Header.Set("Accept", accept)
	}
	answer, err := p.client.Do(request)
	if err == nil {
		answer.Body = steady{answer.Body, p.stalls}
	}
	return answer, err
}

var errStalled = errors.New("it has stalled")

// steady is a body that is closed where nothing of it comes for too long while it is read.
type steady struct {
	io.ReadCloser
	stalls time.Duration
}

func (s steady) Read(b []byte) (int, error) {
	stalled := time.AfterFunc(s.stalls, func() { s.ReadCloser.Close() })
	n, err := s.ReadCloser.Read(b)
	if !stalled.Stop() && err != nil {
		err = fmt.Errorf("%w: nothing has come for %v", errStalled, s.stalls)
	}
	return n, err
}

// refusedBy is an answer that is an error. later: it may be another a moment later.
func (p *peer) refusedBy(answer *http.Response) (later bool, err error) {
	text, _ := io.ReadAll(io.LimitReader(answer.Body, peerProblem)) // what there is of it
	return answer.StatusCode == http.StatusServiceUnavailable && !bytes.Contains(text, []byte(`"halted"`)),
		fmt.Errorf("%s%s: %s: %s", p.url, answer.Request.URL.Path, answer.Status, bytes.TrimSpace(text))
}

// position is how far the peer is.
func (p *peer) position(ctx context.Context) (epoch, position uint64, err error) {
	answer, err := p.get(ctx, "/livez", "")
	if err != nil {
		return 0, 0, err
	}
	answer.Body.Close()
	before, behind, ok := strings.Cut(answer.Header.Get("Sekali-Position"), "-")
	if ok {
		epoch, err = strconv.ParseUint(before, 10, 63)
	}
	if ok && err == nil {
		position, err = strconv.ParseUint(behind, 10, 63)
	}
	if !ok || err != nil {
		return 0, 0, fmt.Errorf("%s is no node of a cluster: it tells no position", p.url)
	}
	return epoch, position, nil
}

// copyTo has the peer make a copy of its store, and writes it to a new file. It is whole, by its
// checksum, or there is an error.
func (p *peer) copyTo(ctx context.Context, file string) (size int64, err error) {
	for end := time.Now().Add(peerPatience); ; {
		answer, err := p.get(ctx, "/backup", "")
		if err != nil {
			return 0, err
		}
		if answer.StatusCode == http.StatusOK {
			defer answer.Body.Close()
			return p.receive(ctx, answer, file)
		}
		later, err := p.refusedBy(answer)
		answer.Body.Close()
		if !later || time.Now().After(end) {
			return 0, err
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(peerPause):
		}
	}
}

var errCopyTorn = errors.New("the copy has not arrived whole")

// receive writes an answer's body to a file.
func (p *peer) receive(ctx context.Context, answer *http.Response, file string) (int64, error) {
	want, ok := strings.CutPrefix(answer.Header.Get("Content-Digest"), "sha-256=:")
	want, ended := strings.CutSuffix(want, ":")
	if !ok || !ended || answer.ContentLength <= 0 {
		return 0, fmt.Errorf("%s: %w: it has no checksum or no length", p.url, errCopyTorn)
	}
	if free, err := disk.Free(filepath.Dir(file)); err != nil || free < answer.ContentLength {
		return 0, errors.Join(fmt.Errorf("the copy has %d bytes, and the disk has room for %d", answer.ContentLength, free), err)
	}
	target, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(target, sum), arriving{answer.Body})
	if err = errors.Join(err, target.Close(), ctx.Err()); err != nil || n != answer.ContentLength {
		return n, errors.Join(fmt.Errorf("%s: %w: %d of %d bytes", p.url, errCopyTorn, n, answer.ContentLength), err)
	}
	if got := base64.StdEncoding.EncodeToString(sum.Sum(nil)); got != want {
		return n, fmt.Errorf("%s: %w: its checksum is %s and should be %s", p.url, errCopyTorn, got, want)
	}
	return n, nil
}

// arriving is a copy on its way.
type arriving struct{ io.Reader }

func (a arriving) Read(b []byte) (int, error) {
	n, err := a.Reader.Read(b)
	if n > 0 {
		crash.Here(crash.JoinCopying)
	}
	return n, err
}
