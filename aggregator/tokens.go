package aggregator

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"sekali/aggregator/event"
	"sekali/aggregator/internal/api"
)

// guarded reports whether requests must carry a token.
func (c Config) guarded() bool { return c.TokenFile != "" || c.TokensFile != "" }

// tokens reads the token of -token-file, which may do everything, and those of -tokens.
func (c Config) tokens() (tokens []api.Token, err error) {
	full, err := secret("token-file", c.TokenFile)
	if err != nil {
		return nil, err
	}
	if full != "" {
		tokens = append(tokens, api.FullToken(full))
	}
	if c.TokensFile == "" {
		return tokens, nil
	}
	f, err := os.Open(c.TokensFile)
	if err != nil {
		return nil, fmt.Errorf("-tokens: %w", err)
	}
	defer f.Close()
	scoped, err := parseTokens(f)
	if err != nil {
		return nil, fmt.Errorf("-tokens: %s%w", c.TokensFile, err)
	}
	return append(tokens, scoped...), nil
}

// parseTokens reads a token a line; an error begins with the line's number.
func parseTokens(r io.Reader) (tokens []api.Token, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, api.MaxTokenBytes), api.MaxTokenBytes)
	number, known := 0, map[[sha256.Size]byte]int{}
	for lines.Scan() {
		number++
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		token, err := parseToken(fields)
		if err == nil && known[token.Digest] > 0 {
			err = fmt.Errorf("the token is that of line %d", known[token.Digest])
		}
		if err == nil && len(tokens) == api.MaxTokens {
			err = fmt.Errorf("more than %d tokens", api.MaxTokens)
		}
		if err != nil {
			return nil, fmt.Errorf(":%d: %w", number, err)
		}
		known[token.Digest] = number
		tokens = append(tokens, token)
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf(":%d: a line has %d bytes at most", number+1, api.MaxTokenBytes)
	case err != nil:
		return nil, fmt.Errorf(": %w", err)
	case len(tokens) == 0:
		return nil, errors.New(": no token is in it")
	}
	return tokens, nil
}

// parseToken reads: token rights topic…. Its errors show nothing of the token.
func parseToken(fields []string) (token api.Token, err error) {
	if len(fields) < 3 {
		return token, errors.New("want a token, its rights and its topics, between spaces")
	}
	token.Digest = sha256.Sum256([]byte(fields[0]))
	if digest, ok := strings.CutPrefix(fields[0], "sha256:"); ok {
		b, err := hex.DecodeString(digest)
		if err != nil || len(b) != sha256.Size {
			return token, fmt.Errorf("want sha256: and %d hexadecimal digits", 2*sha256.Size)
		}
		copy(token.Digest[:], b)
		if token.Digest == sha256.Sum256(nil) { // what a request without a token carries
			return token, errors.New("the digest is that of no token at all")
		}
	}
	for name := range strings.SplitSeq(fields[1], ",") {
		right, ok := api.RightNames[name]
		if !ok {
			return token, errors.New("the rights are not of publish, read and admin, with commas between")
		}
		token.Rights |= right
	}
	token.Topics = fields[2:]
	all := false
	for _, topic := range token.Topics {
		all = all || topic == api.AllTopics
		name := strings.TrimSuffix(topic, "*")
		if strings.Contains(name, "*") {
			return token, fmt.Errorf("topic %q: a * stands at the end only", topic)
		}
		if name == "" {
			continue
		}
		if err := event.CheckTopic(name); err != nil {
			return token, err
		}
	}
	if token.Rights&api.Admin != 0 && !all {
		return token, errors.New("the right admin is for all topics: its topic is *")
	}
	return token, nil
}

// reloadTokens reads the files of tokens again; while they cannot be used, the old tokens stay.
func reloadTokens(cfg Config, public *api.Server, log *slog.Logger) {
	tokens, err := cfg.tokens()
	if err != nil {
		log.Error("the tokens stay as they were", "error", err)
		return
	}
	public.SetTokens(tokens)
	log.Info("tokens reloaded", "tokens", len(tokens))
}
