// Package certificate shows a TLS certificate whose files are renewed while it is shown.
package certificate

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// every is how often the files are looked at, if somebody connects.
const every = 10 * time.Second

// Pair is a certificate and its key. Their files are read again at handshakes, so that a renewed
// pair is taken without a restart; one that cannot be used leaves the pair before in its place.
type Pair struct {
	certFile, keyFile string
	log               *slog.Logger
	pair              atomic.Pointer[tls.Certificate]

	reading sync.Mutex // held while the files are read; a handshake meanwhile waits for nobody
	looked  time.Time  // when that was last
	found   string     // then: what the files had, or why they could not be read
}

// Open reads the files of the flags -tls-cert and -tls-key, which the error names.
func Open(certFile, keyFile string, log *slog.Logger) (*Pair, error) {
	p := &Pair{certFile: certFile, keyFile: keyFile, log: log}
	if _, err := p.read(); err != nil {
		return nil, err
	}
	return p, nil
}

// read takes the pair if the files have changed since they were last read.
func (p *Pair) read() (changed bool, err error) {
	p.looked = time.Now()
	cert, err := os.ReadFile(p.certFile)
	key, keyErr := os.ReadFile(p.keyFile)
	err = errors.Join(err, keyErr)
	found := string(cert) + "\x00" + string(key)
	if err != nil {
		found = err.Error()
	}
	if found == p.found {
		return false, nil
	}
	p.found = found
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.X509KeyPair(cert, key)
	}
	if err != nil {
		return true, fmt.Errorf("-tls-cert and -tls-key: %w", err)
	}
	p.pair.Store(&pair)
	return true, nil
}

// Server is what a handshake shows to who connects, for tls.Config.GetCertificate.
func (p *Pair) Server(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.newest(), nil }

// Client is what a handshake shows to the server that asks, for tls.Config.GetClientCertificate.
func (p *Pair) Client(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return p.newest(), nil }

func (p *Pair) newest() *tls.Certificate {
	if p.reading.TryLock() {
		defer p.reading.Unlock()
		if time.Since(p.looked) >= every {
			p.readAgain()
		}
	}
	return p.pair.Load()
}

// readAgain tells of what has changed, once.
func (p *Pair) readAgain() {
	switch changed, err := p.read(); {
	case err != nil:
		p.log.Error("the TLS certificate stays as it was", "error", err)
	case changed:
		p.log.Info("TLS certificate reloaded", "not_after", p.pair.Load().Leaf.NotAfter)
	}
}
