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

// authority writes a CA, and a certificate of it for the loopback. renew writes the next one in the
// place of that, and returns its number.
func authority(t *testing.T) (ca, cert, key string, renew func() int64) {
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
	number := int64(1)
	child := &x509.Certificate{Subject: pkix.Name{CommonName: "log"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	sign := func(name string, c *x509.Certificate, key *ecdsa.PrivateKey) string {
		der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), keys[0])
		if err != nil {
			t.Fatal(err)
		}
		return write(name, "CERTIFICATE", der)
	}
	renew = func() int64 {
		number++
		child.SerialNumber = big.NewInt(number)
		cert = sign("cert.pem", child, keys[1])
		return number
	}
	ca = sign("ca.pem", parent, keys[0])
	renew()
	der, err := x509.MarshalPKCS8PrivateKey(keys[1])
	if err != nil {
		t.Fatal(err)
	}
	return ca, cert, write("key.pem", "PRIVATE KEY", der), renew
}

// TestSecured: with a token and certificates three servers are a cluster, and a stranger is nobody.
// A renewed certificate is shown without a restart.
func TestSecured(t *testing.T) {
	t.Parallel()
	ca, cert, key, renew := authority(t)
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
	renewed := renew()
	c.within(30*time.Second, "the renewed certificate", func() bool {
		fresh := c.connect(nats.RootCAs(ca), nats.UserInfo(user, "s3cret:/@"))
		defer fresh.Close()
		state, err := fresh.TLSConnectionState()
		return err == nil && state.PeerCertificates[0].SerialNumber.Int64() == renewed
	})
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
