package integration_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestWaitingClientsOverTLS: connections that wait, before the handshake, after it or after a
// request, make room for a publisher over TLS too, and hold up no stop.
func TestWaitingClientsOverTLS(t *testing.T) {
	const (
		clients  = 600 // of 512 that are served
		requests = 100
		// refusedFor is more than the second for which a waiting connection keeps its place, and the time
		// to make room.
		refusedFor = 5 * time.Second
	)
	cert, key, roots := selfSigned(t)
	config := &tls.Config{RootCAs: roots, ServerName: "localhost"}
	handshake := func(t *testing.T, conn net.Conn) net.Conn {
		secure := tls.Client(conn, config)
		_ = secure.SetDeadline(time.Now().Add(requestTimeout))
		_ = secure.Handshake() // beyond the bound it is closed
		return secure
	}
	for name, wait := range map[string]func(t *testing.T, conn net.Conn){
		"before the handshake": func(*testing.T, net.Conn) {},
		"within the handshake": func(_ *testing.T, conn net.Conn) { io.WriteString(conn, "\x16\x03\x01\x02\x00") },
		"after the handshake":  func(t *testing.T, conn net.Conn) { handshake(t, conn) },
		"after a request": func(t *testing.T, conn net.Conn) {
			secure := handshake(t, conn)
			io.WriteString(secure, get("/livez"))
			secure.Read(make([]byte, 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := startUnready(t, dataFolder(t), "-tls-cert", cert, "-tls-key", key)
			transport := &http.Transport{TLSClientConfig: config}
			defer transport.CloseIdleConnections()
			a.client.Transport, a.URL = transport, "https://"+a.Addr
			for range clients {
				conn, err := net.Dial("tcp", a.Addr)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				wait(t, conn)
			}
			published := 0
			p99 := a.p99(t, "beside", requests, refusedFor, &published)
			transport.CloseIdleConnections()
			again := a.p99(t, "again", requests, refusedFor, &published) // with a handshake
			t.Logf("p99 beside %d clients %v, on a new connection %v", clients, p99, again)
			if c := a.drained(t); c.Unique != published {
				t.Errorf("%d stored, want %d", c.Unique, published)
			}
			a.stop(t)
		})
	}
}

// TestOldTLSIsRefused: 1.2 is the least, whatever the environment allows.
func TestOldTLSIsRefused(t *testing.T) {
	t.Setenv("GODEBUG", "tls10server=1")
	cert, key, roots := selfSigned(t)
	a := startUnready(t, dataFolder(t), "-tls-cert", cert, "-tls-key", key)
	for version, served := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		conn, err := tls.Dial("tcp", a.Addr, &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: version, MaxVersion: version})
		if served != (err == nil) {
			t.Errorf("%s: %v, want it served: %v", tls.VersionName(version), err, served)
		}
		if err == nil {
			conn.Close()
		}
	}
	a.stop(t)
}

// TestRenewedCertificateIsTaken: the renewed pair is shown without a restart, to who connects a
// while later.
func TestRenewedCertificateIsTaken(t *testing.T) {
	t.Parallel()
	const taken = 30 * time.Second // the files are looked at every 10 s
	cert, key, roots := selfSigned(t)
	a := startUnready(t, dataFolder(t), "-tls-cert", cert, "-tls-key", key)
	handshake := func(roots *x509.CertPool) error {
		conn, err := tls.Dial("tcp", a.Addr, &tls.Config{RootCAs: roots, ServerName: "localhost"})
		if err == nil {
			conn.Close()
		}
		return err
	}
	if err := handshake(roots); err != nil {
		t.Fatal(err)
	}
	newCert, newKey, newRoots := selfSigned(t)
	for from, to := range map[string]string{newCert: cert, newKey: key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(taken)
	for err := handshake(newRoots); err != nil; err = handshake(newRoots) {
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(samplePeriod)
	}
	if err := handshake(roots); err == nil {
		t.Error("the old certificate is shown still")
	}
	a.stop(t)
}

// TestHealthcheckOverTLS: in an image it has nothing to go by but the environment of the server,
// whose certificate is for the name that others call it by.
func TestHealthcheckOverTLS(t *testing.T) {
	cert, key, roots := selfSigned(t)
	a := startUnready(t, dataFolder(t), "-tls-cert", cert, "-tls-key", key)
	a.client.Transport, a.URL = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}, DisableKeepAlives: true}, "https://"+a.Addr
	for deadline := time.Now().Add(readyTimeout); ; time.Sleep(samplePeriod) {
		if _, err := a.get("/readyz", "*/*"); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if got := run(t, []string{"SEKALI_LISTEN=" + a.Addr, "SEKALI_TLS_CERT=" + cert}, "healthcheck"); got.code != 0 {
		t.Errorf("exit code %d: %s", got.code, got.stderr)
	}
	if got := run(t, nil, "healthcheck", "-url", a.URL+"/readyz"); got.code != 0 {
		t.Errorf("with -url: exit code %d: %s", got.code, got.stderr)
	}
	a.stop(t)
	got := run(t, []string{"SEKALI_LISTEN=" + a.Addr, "SEKALI_TLS_CERT=" + cert}, "healthcheck")
	if got.code != 1 {
		t.Errorf("of a stopped aggregator: exit code %d, want 1", got.code)
	}
	got.checkOneLine(t)
}

// selfSigned makes a certificate for localhost that is valid for an hour, and who trusts it.
func selfSigned(t *testing.T) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(certFile, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600); err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	return certFile, keyFile, roots
}
