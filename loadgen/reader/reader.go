// Package reader is `loadgen follow`: it prints events as they are committed, and goes on where it
// stopped.
package reader

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"sekali/client"
	"sekali/internal/settings"
)

// ErrConfig marks a configuration that cannot be; its text is one line.
var ErrConfig = errors.New("configuration")

const (
	// longestPause is the longest one before the stream is opened anew.
	longestPause = time.Second
	// saveEvery is how often the position is saved at most, for a save waits for the disk.
	saveEvery = 200 * time.Millisecond
)

// Config of the reader; ParseFlags has the defaults.
type Config struct {
	URL, Topic string
	TokenFile  string
	State      string // file of the position; "": none
	After      int64  // where to begin without a saved position
}

// ParseFlags reads the flags of `loadgen follow`. With -h it prints them to usage and returns
// flag.ErrHelp; every other error is an ErrConfig.
func ParseFlags(args []string, lookup func(string) (string, bool), usage io.Writer) (c Config, err error) {
	flags := flag.NewFlagSet("loadgen follow", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	settings.Declare(flags)
	flags.StringVar(&c.URL, "url", "http://127.0.0.1:8080", "the aggregator's `URL`")
	flags.StringVar(&c.Topic, "topic", "", "`name` of the only topic to print (default: all)")
	flags.StringVar(&c.TokenFile, "token-file", "", "`file` of the bearer token")
	flags.StringVar(&c.State, "state", "", "`file` where the position is kept, for the next start to go on from")
	flags.Int64Var(&c.After, "after", 0, "`seq` (number of an event) to begin after, where no position is saved")
	origins, err := settings.Parse(flags, args, lookup)
	if errors.Is(err, flag.ErrHelp) {
		settings.Help(usage, "Prints stored events as they are committed, one a line.\n\nUsage: loadgen follow [flags]\n\nExit 0: stopped as asked. 1: it could not go on, and says why. 2: a bad flag or file.\n\nEach flag is also read from SEKALI_<FLAG>, such as SEKALI_TOKEN_FILE for -token-file, and from the file of -config.", flags)
		return c, err
	}
	if err != nil {
		return c, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if u, err := url.Parse(c.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return c, origins.Explain(fmt.Errorf("%w: -url=%q is no http or https URL", ErrConfig, c.URL))
	}
	if c.After < 0 {
		return c, origins.Explain(fmt.Errorf("%w: -after=%d is negative", ErrConfig, c.After))
	}
	return c, nil
}

// position is the file of -state: of the topic, "" for all, everything up to seq was printed.
type position struct {
	Topic string `json:"topic"`
	Seq   int64  `json:"seq"`
	Epoch string `json:"epoch,omitempty"` // of a cluster's log, with a "-"
}

// reader prints what a subscription yields. One goroutine calls run.
type reader struct {
	cfg    Config
	token  string
	out    *bufio.Writer
	stderr io.Writer
	at     string // cursor: up to here all is written to out
	saved  string // up to here all was saved as printed
	savedT time.Time
}

// Run prints events to stdout until ctx ends, which is no error. What it could not know to be
// printed when it was killed it prints again: the position is saved behind the events.
func Run(ctx context.Context, cfg Config, stdout, stderr io.Writer) error {
	begin := strconv.FormatInt(cfg.After, 10)
	r := &reader{cfg: cfg, out: bufio.NewWriterSize(stdout, 64<<10), stderr: stderr, at: begin, saved: begin}
	if err := r.load(); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	c, err := client.New(cfg.URL, client.Options{Token: r.token, UserAgent: "sekali-reader", LongestPause: longestPause})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	defer c.Close(ctx) // nothing was published
	err = r.print(ctx, c)
	if failed := r.save(); failed != nil {
		return failed
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (r *reader) load() error {
	if r.cfg.TokenFile != "" {
		b, err := os.ReadFile(r.cfg.TokenFile)
		if err != nil {
			return fmt.Errorf("-token-file: %w", err)
		}
		if r.token = strings.TrimSpace(string(b)); r.token == "" || strings.ContainsAny(r.token, "\r\n") {
			return fmt.Errorf("-token-file: %s does not hold one line", r.cfg.TokenFile)
		}
	}
	if r.cfg.State == "" {
		return nil
	}
	// What could not be kept is better known before anything is printed.
	next, err := r.openNext()
	if err != nil {
		return err
	}
	if err := errors.Join(next.Close(), os.Remove(next.Name())); err != nil {
		return fmt.Errorf("-state: %w", err)
	}
	return r.resume()
}

// resume takes the position where it was saved, if it was.
func (r *reader) resume() error {
	b, err := os.ReadFile(r.cfg.State)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var p position
	if err == nil {
		err = p.parse(b)
	}
	switch {
	case err != nil:
		return fmt.Errorf("-state: %s is no position of loadgen follow: %w", r.cfg.State, err)
	case p.Topic != r.cfg.Topic:
		return fmt.Errorf("-state: %s is of the topic %q", r.cfg.State, p.Topic)
	}
	r.at = p.Epoch + strconv.FormatInt(p.Seq, 10)
	r.saved = r.at
	return nil
}

// parse is strict: another program's file would be written over.
func (p *position) parse(text []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(p); err != nil {
		return err
	}
	if p.Seq < 0 {
		return fmt.Errorf("the seq %d is negative", p.Seq)
	}
	return nil
}

// openNext opens the file that takes the place of the saved position.
func (r *reader) openNext() (*os.File, error) {
	next, err := os.OpenFile(r.cfg.State+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("-state: %w", err)
	}
	return next, nil
}

// print prints what comes, at once if nothing more has come.
func (r *reader) print(ctx context.Context, c *client.Client) error {
	for step, err := range c.SubscribeRaw(ctx, r.cfg.Topic, r.at) {
		if err != nil {
			return r.explain(err)
		}
		if step.Event != nil {
			_, err = r.out.Write(append(step.Event, '\n'))
		}
		if err == nil && !step.More {
			err = r.out.Flush()
		}
		if err != nil {
			return err
		}
		r.at = step.Cursor
		if step.Broken != nil {
			fmt.Fprintf(r.stderr, "loadgen: the stream is opened anew after seq %s: %v\n", r.at, step.Broken)
		}
		if step.Broken == nil && time.Since(r.savedT) < saveEvery {
			continue
		}
		if err := r.save(); err != nil {
			return err
		}
	}
	return nil
}

// explain says of a refusal which flag it may be of.
func (r *reader) explain(err error) error {
	var refused *client.RejectedError
	if !errors.As(err, &refused) {
		return err
	}
	text := fmt.Sprintf("%d %s", refused.Status, http.StatusText(refused.Status))
	if refused.Code != "" {
		text += fmt.Sprintf(": %s: %s", refused.Code, refused.Detail)
	}
	if refused.Status == http.StatusUnauthorized {
		text += map[bool]string{true: " (no -token-file is given)", false: " (the token is of -token-file)"}[r.token == ""]
	}
	return errors.New(text)
}

// save keeps the position, once everything up to it is written.
func (r *reader) save() error {
	if err := r.out.Flush(); err != nil {
		return err
	}
	if r.cfg.State == "" || r.at == r.saved {
		return nil
	}
	seq := strings.IndexByte(r.at, '-') + 1
	n, err := strconv.ParseInt(r.at[seq:], 10, 64)
	if err != nil {
		return err
	}
	text, err := json.Marshal(position{r.cfg.Topic, n, r.at[:seq]})
	if err != nil {
		return err
	}
	next, err := r.openNext()
	if err != nil {
		return err
	}
	_, err = next.Write(append(text, '\n'))
	err = errors.Join(err, next.Sync(), next.Close())
	if err == nil {
		err = os.Rename(next.Name(), r.cfg.State)
	}
	if err != nil {
		return fmt.Errorf("-state: %w", err)
	}
	r.saved, r.savedT = r.at, time.Now()
	return nil
}
