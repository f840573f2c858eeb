package aggregator

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

// certificateEvery is how often the files of -tls-cert and -tls-key are looked at, if somebody
// connects.
const certificateEvery = 10 * time.Second

// certificate is what the server shows. Its files are read again at handshakes, so that a renewed
// pair is taken without a restart; one that cannot be used leaves the pair before in its place.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	pair              atomic.Pointer[tls.Certificate]

	reading sync.Mutex // held while the files are read; a handshake meanwhile waits for nobody
	looked  time.Time  // when that was last
	found   string     // then: what the files had, or why they could not be read
}

// newCertificate reads the pair, if there is to be one; nil: there is not.
func (c Config) newCertificate(log *slog.Logger) (*certificate, error) {
	if c.TLSCert == "" {
		return nil, nil
	}
	p := &certificate{certFile: c.TLSCert, keyFile: c.TLSKey, log: log}
	if _, err := p.read(); err != nil {
		return nil, err
	}
	return p, nil
}

// read takes the pair if the files have changed since they were last read.
func (p *certificate) read() (changed bool, err error) {
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

// show is what a handshake asks for.
func (p *certificate) show(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if p.reading.TryLock() {
		defer p.reading.Unlock()
		if time.Since(p.looked) >= certificateEvery {
			p.readAgain()
		}
	}
	return p.pair.Load(), nil
}

// readAgain tells of what has changed, once.
func (p *certificate) readAgain() {
	switch changed, err := p.read(); {
	case err != nil:
		p.log.Error("the TLS certificate stays as it was", "error", err)
	case changed:
		p.log.Info("TLS certificate reloaded", "not_after", p.pair.Load().Leaf.NotAfter)
	}
}
