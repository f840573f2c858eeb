package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// authority writes a CA, and a certificate of it for the loopback.
func authority(t *testing.T) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	keys := make([]*ecdsa.PrivateKey, 2)
	for i := range keys {
		var err error
		if keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	parent := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	child := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "log"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	for i, c := range []*x509.Certificate{parent, child} {
		der, err := x509.CreateCertificate(rand.Reader, c, parent, keys[i].Public(), keys[0])
		if err != nil {
			t.Fatal(err)
		}
		path := write([]string{"ca.pem", "cert.pem"}[i], "CERTIFICATE", der)
		if i == 0 {
			ca = path
		} else {
			cert = path
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(keys[1])
	if err != nil {
		t.Fatal(err)
	}
	return ca, cert, write("key.pem", "PRIVATE KEY", der)
}

// TestSecured: with a token and certificates three servers are a cluster, and a stranger is nobody.
func TestSecured(t *testing.T) {
	t.Parallel()
	ca, cert, key := authority(t)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("s3cret:/@\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newCluster(t, "-token-file", token, "-tls-cert", cert, "-tls-key", key, "-tls-ca", ca).startAll()
	nc := c.connect(nats.RootCAs(ca), nats.UserInfo(user, "s3cret:/@"))
	c.healed(c.stream(nc))
	for name, options := range map[string][]nats.Option{
		"no token":      {nats.RootCAs(ca)},
		"another token": {nats.RootCAs(ca), nats.UserInfo(user, "other")},
		"system's name": {nats.RootCAs(ca), nats.UserInfo(systemUser, systemUser)},
		"no authority":  {nats.UserInfo(user, "s3cret:/@")},
	} {
		if stranger, err := nats.Connect(c.urls(), options...); err == nil {
			t.Errorf("%s: connected to %s", name, stranger.ConnectedUrl())
			stranger.Close()
		}
	}
	// A server without the certificate is no part of the cluster: the other two would have to have it.
	c.extra = []string{"-token-file", token}
	addresses := hold(t, 2)
	stranger := &member{name: "log-4", dir: t.TempDir(), listen: addresses[0], route: addresses[1]}
	cfg := config{name: stranger.name, dir: stranger.dir} // a folder that is not new asks nobody
	if _, err := cfg.newIdentity(nil); err != nil {
		t.Fatal(err)
	}
	c.start(stranger)
	c.listening(stranger)
	time.Sleep(2 * time.Second)
	system := c.connect(nats.RootCAs(ca), nats.UserInfo(systemUser, "s3cret:/@"))
	var peers []peer
	c.within(20*time.Second, "an answer of the leader", func() bool { peers, _ = members(system); return peers != nil })
	if len(peers) != 3 {
		t.Errorf("members: %v", peers)
	}
}
