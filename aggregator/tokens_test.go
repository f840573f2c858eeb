package aggregator

import (
	"crypto/sha256"
	"fmt"
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
		"nothing":         {"# only this\n", "no token"},
		"no topic":        {"s3cret read\n", ":1: want a token"},
		"another right":   {"x read a\ns3cret write a\n", ":2: the rights"},
		"no right":        {"s3cret , a\n", ":1: the rights"},
		"a star inside":   {"s3cret read a*b\n", ":1: topic"},
		"a long topic":    {"s3cret read " + strings.Repeat("a", 256) + "\n", ":1: "},
		"a short digest":  {"sha256:00 read a\n", ":1: want sha256: and 64"},
		"admin of some":   {"s3cret admin a*\n", ":1: the right admin"},
		"the same twice":  {fmt.Sprintf("s3cret read a\nsha256:%x read b\n", digest), ":2: the token is that of line 1"},
		"too many":        {many.String(), fmt.Sprintf(":%d: more than %d", api.MaxTokens+1, api.MaxTokens)},
		"a line too long": {"x read a\ns3cret read " + strings.Repeat("a ", api.MaxTokenBytes), ":2: a line has"},
	} {
		if _, err := parseTokens(strings.NewReader(c.text)); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
