package certificate

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRenewedCertificate: handshakes show the renewed pair once its files were looked at again. One
// that is of two renewals, or is gone, leaves the old one, and is logged once.
func TestRenewedCertificate(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write := func(file string, content []byte) {
		t.Helper()
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert1, key1 := pair(t, 1)
	cert2, key2 := pair(t, 2)
	write(certFile, cert1)
	write(keyFile, key1)
	var logged bytes.Buffer // by show, which ends before the handshake does
	p, err := Open(certFile, keyFile, slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	// shown is the number of the certificate that a new connection gets. The time of a look has come,
	// or not.
	shown := func(due bool) int64 {
		t.Helper()
		if due {
			p.looked = time.Now().Add(-every)
		}
		return shown(t, p)
	}
	expect := func(number, got int64, lines int, last string) {
		t.Helper()
		if got != number {
			t.Errorf("certificate %d, want %d", got, number)
		}
		if n := strings.Count(logged.String(), "\n"); n != lines || !strings.Contains(logged.String(), last) {
			t.Errorf("want %d lines, with %q: %s", lines, last, &logged)
		}
	}
	expect(1, shown(true), 0, "")
	write(certFile, cert2)
	expect(1, shown(true), 1, "private key does not match")
	expect(1, shown(true), 1, "")
	write(keyFile, key2)
	expect(1, shown(false), 1, "")
	expect(2, shown(true), 2, "reloaded")
	expect(2, shown(true), 2, "")
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	expect(2, shown(true), 3, "no such file")
	expect(2, shown(true), 3, "")
	write(keyFile, []byte("x"))
	expect(2, shown(true), 4, "failed to find any PEM data in key input")
	write(certFile, cert1)
	write(keyFile, key1)
	expect(1, shown(true), 5, "")
}

// shown is the serial number of the certificate that a handshake shows to the client, and to the
// server, which asks for one too.
func shown(t *testing.T, p *Pair) int64 {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	done := make(chan error, 1)
	accepted := tls.Server(server, &tls.Config{GetCertificate: p.Server, ClientAuth: tls.RequireAnyClientCert})
	go func() {
		defer server.Close()
		done <- accepted.Handshake()
	}()
	// The numbers are all that matters.
	conn := tls.Client(client, &tls.Config{InsecureSkipVerify: true, GetClientCertificate: p.Client})
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, conn) // the server's tickets
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	number := conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	if client := accepted.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); client != number {
		t.Errorf("the client shows %d, the server %d", client, number)
	}
	return number
}

// pair makes a certificate of a number, and its key.
func pair(t *testing.T, number int64) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(number), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text})
}
