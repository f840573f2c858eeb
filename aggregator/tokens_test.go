package aggregator

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sekali/aggregator/internal/api"
)

// TestParseTokens: a file has a token a line, and a line that cannot be is named by its number,
// without the token.
func TestParseTokens(t *testing.T) {
	digest := sha256.Sum256([]byte("s3cret"))
	tokens, err := parseTokens(strings.NewReader(fmt.Sprintf("# a comment\n\nplain publish,read a b*\nsha256:%x admin *\n", digest)))
	if err != nil || len(tokens) != 2 {
		t.Fatal(tokens, err)
	}
	if tokens[0].Digest != sha256.Sum256([]byte("plain")) || tokens[0].Rights != api.Publish|api.Read || fmt.Sprint(tokens[0].Topics) != "[a b*]" {
		t.Errorf("plain: %+v", tokens[0])
	}
	if tokens[1].Digest != digest || tokens[1].Rights != api.Admin {
		t.Errorf("by its digest: %+v", tokens[1])
	}
	var many strings.Builder
	for i := range api.MaxTokens + 1 {
		fmt.Fprintf(&many, "s3cret%d read a\n", i)
	}
	for name, c := range map[string]struct{ text, want string }{
		"nothing":           {"# only this\n", "no token"},
		"no topic":          {"s3cret read\n", ":1: want a token"},
		"another right":     {"x read a\ns3cret write a\n", ":2: the rights"},
		"no right":          {"s3cret , a\n", ":1: the rights"},
		"a star inside":     {"s3cret read a*b\n", ":1: topic"},
		"a long topic":      {"s3cret read " + strings.Repeat("a", 256) + "\n", ":1: "},
		"a short digest":    {"sha256:00 read a\n", ":1: want sha256: and 64"},
		"no token's digest": {fmt.Sprintf("s3cret read a\nsha256:%x read a\n", sha256.Sum256(nil)), ":2: the digest is that of no token"},
		"admin of some":     {"s3cret admin a*\n", ":1: the right admin"},
		"the same twice":    {fmt.Sprintf("s3cret read a\nsha256:%x read b\n", digest), ":2: the token is that of line 1"},
		"too many":          {many.String(), fmt.Sprintf(":%d: more than %d", api.MaxTokens+1, api.MaxTokens)},
		"a line too long":   {"x read a\ns3cret read " + strings.Repeat("a ", api.MaxTokenBytes), ":2: a line has"},
	} {
		if _, err := parseTokens(strings.NewReader(c.text)); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestNoSecret: a secret that anybody has is refused at the start.
func TestNoSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	for text, taken := range map[string]bool{"": false, " \n": false, "whsec_\n": false, "whsec_c2VjcmV0": true, "plain": true} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := (Config{HMACSecretFile: file}).hmacSecret(); (err == nil) != taken {
			t.Errorf("%q: %v, want taken: %t", text, err, taken)
		}
	}
}
