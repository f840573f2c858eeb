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

	"sekali/internal/settings"
)

// ErrConfig marks a configuration that cannot be; its text is one line.
var ErrConfig = errors.New("configuration")

const (
	// retryAfter is the pause before the stream is opened anew.
	retryAfter = time.Second
	// silence is after how long without a byte the stream is opened anew: the aggregator writes every
	// 5 s.
	silence = 20 * time.Second
	// saveEvery is how often the position is saved at most, for a save waits for the disk.
	saveEvery = 200 * time.Millisecond
	// lineBytes bounds an event: a body has 24 MiB at most.
	lineBytes = 64 << 20
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
	flags.Int64Var(&c.After, "after", 0, "`seq` to begin after, where no position is saved")
	origins, err := settings.Parse(flags, args, lookup)
	if errors.Is(err, flag.ErrHelp) {
		settings.Help(usage, "Usage: loadgen follow [flags]\n\nEach flag is also read from SEKALI_<FLAG>, upper case, - as _, and from the file of -config.", flags)
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

// reader prints one stream after the other. One goroutine calls run.
type reader struct {
	cfg    Config
	token  string
	out    *bufio.Writer
	at     int64  // up to here all is written to out
	epoch  string // that at is of, with a "-"; "": none is known
	saved  int64  // up to here all was saved as printed
	savedT time.Time
}

// Run prints events to stdout until ctx ends, which is no error. What it could not know to be
// printed when it was killed it prints again: the position is saved behind the events.
func Run(ctx context.Context, cfg Config, stdout, stderr io.Writer) error {
	r := &reader{cfg: cfg, out: bufio.NewWriterSize(stdout, 64<<10), at: cfg.After, saved: cfg.After}
	if err := r.load(); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	for {
		err := r.stream(ctx)
		var final finalError
		switch failed := r.save(); {
		case failed != nil:
			return failed
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &final):
			return err
		}
		fmt.Fprintf(stderr, "loadgen: the stream is opened anew after seq %d: %v\n", r.at, err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryAfter):
		}
	}
}

// finalError is one that the same request would meet again.
type finalError struct{ error }

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
	r.at, r.saved, r.epoch = p.Seq, p.Seq, p.Epoch
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

// stream prints what one connection brings.
func (r *reader) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(silence, func() { cancel(fmt.Errorf("nothing came for %v", silence)) })
	defer quiet.Stop()
	query := url.Values{"after": {r.epoch + strconv.FormatInt(r.at, 10)}}
	if r.cfg.Topic != "" {
		query.Set("topic", r.cfg.Topic)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(r.cfg.URL, "/")+"/events/stream?"+query.Encode(), nil)
	if err != nil {
		return finalError{err}
	}
	if r.token != "" {
		request.Header.Set("Authorization", "Bearer "+r.token)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		err := r.refusal(answer)
		if answer.StatusCode < 500 && answer.StatusCode != http.StatusRequestTimeout {
			return finalError{err}
		}
		return err
	}
	in := bufio.NewReaderSize(answer.Body, 64<<10)
	f, line := frame{id: r.at, epoch: r.epoch}, []byte(nil)
	for {
		if line, err = readLine(in, line[:0]); err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		quiet.Reset(silence)
		if err := f.take(line); err != nil {
			return err
		}
		if len(line) > 0 {
			continue
		}
		if err := r.print(&f, in.Buffered() == 0); err != nil {
			return err
		}
	}
}

// refusal is what an answer says that is no stream.
func (r *reader) refusal(answer *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10)) // the status says enough
	var problem struct{ Code, Detail string }
	text := string(bytes.TrimSpace(body))
	if json.Unmarshal(body, &problem) == nil && problem.Code != "" {
		text = problem.Code + ": " + problem.Detail
	}
	if answer.StatusCode == http.StatusUnauthorized {
		text += map[bool]string{true: " (no -token-file is given)", false: " (the token is of -token-file)"}[r.token == ""]
	}
	return fmt.Errorf("%s: %s", answer.Status, text)
}

// readLine appends a line to dst, without its end.
func readLine(in *bufio.Reader, dst []byte) ([]byte, error) {
	for {
		part, err := in.ReadSlice('\n')
		dst = append(dst, part...)
		switch {
		case err == nil:
			return bytes.TrimRight(dst, "\r\n"), nil
		case err != bufio.ErrBufferFull:
			return dst, err
		case len(dst) > lineBytes:
			return dst, finalError{fmt.Errorf("a line of more than %d bytes", lineBytes)}
		}
	}
}

// frame is what came of a frame, which an empty line ends.
type frame struct {
	id    int64
	epoch string
	event []byte // with its line feed; empty: none
}

func (f *frame) take(line []byte) error {
	if text, ok := bytes.CutPrefix(line, []byte("id: ")); ok {
		at := bytes.IndexByte(text, '-') + 1
		seq, err := strconv.ParseInt(string(text[at:]), 10, 64)
		if err != nil {
			return fmt.Errorf("the stream has the id %.40q", text)
		}
		f.id, f.epoch = seq, string(text[:at])
	}
	if event, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
		f.event = append(append(f.event[:0], event...), '\n')
	}
	return nil
}

// print prints a whole frame, at once if nothing more has come.
func (r *reader) print(f *frame, flush bool) error {
	_, err := r.out.Write(f.event)
	if err == nil && flush {
		err = r.out.Flush()
	}
	if err != nil {
		return finalError{err}
	}
	r.at, r.epoch, f.event = f.id, f.epoch, f.event[:0]
	if time.Since(r.savedT) < saveEvery {
		return nil
	}
	return r.save()
}

// save keeps the position, once everything up to it is written.
func (r *reader) save() error {
	if err := r.out.Flush(); err != nil {
		return finalError{err}
	}
	if r.cfg.State == "" || r.at == r.saved {
		return nil
	}
	text, _ := json.Marshal(position{r.cfg.Topic, r.at, r.epoch}) // it cannot fail
	next, err := r.openNext()
	if err != nil {
		return finalError{err}
	}
	_, err = next.Write(append(text, '\n'))
	err = errors.Join(err, next.Sync(), next.Close())
	if err == nil {
		err = os.Rename(next.Name(), r.cfg.State)
	}
	if err != nil {
		return finalError{fmt.Errorf("-state: %w", err)}
	}
	r.saved, r.savedT = r.at, time.Now()
	return nil
}
