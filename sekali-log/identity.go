package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// JetStream knows a server by its name. A server that comes back under its name with an empty
// folder would vote as if it had kept what it acknowledged, and two of three such votes lose
// events. So the name that JetStream sees has a part that is drawn when the folder is made, and is
// lost with it.
const identityFile = "server-name"

// identity is the name in the folder, "" if the folder is new.
func (c *config) identity() (string, error) {
	text, err := os.ReadFile(c.file(identityFile))
	if errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat(c.file("jetstream")); err == nil {
			return "", misconfigured("-dir=%s has a log, and no file %s: it was not made by sekali-log", c.dir, identityFile)
		}
		return "", nil
	}
	if err != nil {
		return "", err
	}
	name := strings.TrimSpace(string(text))
	if base, _ := baseName(name); base != c.name {
		return "", misconfigured("-name=%s, but -dir=%s was made for %q", c.name, c.dir, base)
	}
	return name, nil
}

const suffixBytes = 2

// newIdentity draws a name that none of the peers has, and keeps it in the folder.
func (c *config) newIdentity(peers []peer) (name string, err error) {
	taken := map[string]bool{}
	for _, p := range peers {
		taken[p.ID] = true
	}
	for name == "" || taken[peerID(name)] {
		suffix := make([]byte, suffixBytes)
		rand.Read(suffix)
		name = c.name + "-" + hex.EncodeToString(suffix)
	}
	return name, writeDurably(c.file(identityFile), name+"\n")
}

// baseName is the -name of a server that JetStream knows as name.
func baseName(name string) (base string, ok bool) {
	if i := strings.LastIndexByte(name, '-'); i > 0 && len(name)-i-1 == 2*suffixBytes {
		return name[:i], true
	}
	return "", false
}

// peer is a server in the group that lists the streams.
type peer struct {
	Name string `json:"name"` // as JetStream knows it, or a text without a name if it was not seen since
	ID   string `json:"peer"` // the hash of that name
}

// namesakes are the peers of this -name except self. One that has not been seen since the others
// started has no name, but its ID is the hash of one of few.
func (c *config) namesakes(peers []peer, self string) (found []peer) {
	possible := map[string]string{}
	for i := range 1 << (8 * suffixBytes) {
		name := fmt.Sprintf("%s-%0*x", c.name, 2*suffixBytes, i)
		possible[peerID(name)] = name
	}
	for _, p := range peers {
		if name := possible[p.ID]; name != "" && name != self {
			found = append(found, peer{Name: name, ID: p.ID})
		}
	}
	return found
}

// peerID is the ID that nats-server makes of a server's name. TestPeerID compares.
func peerID(name string) string {
	const digits, size = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", 8
	sum := sha256.Sum256([]byte(name))
	id := sum[:size]
	for i, b := range id {
		id[i] = digits[int(b)%len(digits)]
	}
	return string(id)
}

// writeDurably makes a file that is there, and whole, after a power cut.
func writeDurably(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
