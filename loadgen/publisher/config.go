package publisher

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"
	_ "time/tzdata" // -zone, where the machine has no zones

	"sekali/internal/settings"
	"sekali/loadgen/delivery"
	"sekali/loadgen/stream"
)

// ErrConfig marks a configuration that cannot be; its text is one line.
var ErrConfig = errors.New("configuration")

const (
	defaultCount = 1000      // the course report's batch
	maxPerBatch  = 1_000_000 // as many as an aggregator may put in one transaction
	maxRate      = 1e9
	unbounded    = 0
)

// Config of the publisher; ParseFlags has the defaults.
type Config struct {
	URL        string
	Ack        string  // memory, journal, replicated, store; "": the aggregator's own
	TokenFile  string  // of the bearer token; "": none
	Rate       float64 // events/s; 0: as fast as they are acknowledged
	PerRequest int
	Count      uint64 // events; 0: until stopped, or the end of the input

	// Of the seeded stream, which is what is published without an Input.
	Seed       uint64
	Duplicates float64

	Input  string         // file, or "-"; "": the seeded stream
	Lines  bool           // the input is plain log lines rather than NDJSON
	Topic  string         // of log lines; of NDJSON events that name none; of the whole stream
	Source string         // of log lines
	Run    string         // instead of the input's identity, in the ids of lines without a time
	Follow bool           // the input is read on as it grows and is rotated
	State  string         // file of the position; "": none
	poll   time.Duration  // 0: pollEvery
	Zone   *time.Location // of times in log lines that name none; nil: UTC

	Wait    time.Duration // for an aggregator that is not up yet; 0: do not look
	Timeout time.Duration // of one attempt
	Retry   delivery.Policy

	Stdin io.Reader // what "-" reads
}

// ParseFlags reads the flags of `loadgen publish`, and those that are not given from the
// environment (SEKALI_<FLAG>) and the file of -config. With -h it prints them to usage and returns
// flag.ErrHelp; every other error is an ErrConfig.
func ParseFlags(args []string, lookup func(string) (string, bool), usage io.Writer) (Config, error) {
	c := Config{Retry: delivery.DefaultPolicy(), Stdin: os.Stdin}
	flags := flag.NewFlagSet("loadgen publish", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	settings.Declare(flags)
	flags.StringVar(&c.URL, "url", "http://127.0.0.1:8080", "the aggregator's `URL`")
	flags.StringVar(&c.Ack, "ack", "", "`level` of safety to wait for: memory, journal, replicated, store (default: the aggregator's)")
	flags.StringVar(&c.TokenFile, "token-file", "", "`file` of the bearer token")
	flags.Float64Var(&c.Rate, "rate", 0, "`events` to send in a second; 0: as fast as they are acknowledged")
	flags.IntVar(&c.PerRequest, "per-request", 100, "events in one request")
	flags.Uint64Var(&c.Count, "count", defaultCount, "events to publish; 0: until stopped. With -input all of them, unless given")
	flags.Uint64Var(&c.Seed, "seed", 1, "of the events that it makes: the same seed makes the same events")
	flags.Float64Var(&c.Duplicates, "duplicates", 0, "`share` of the made events that repeat an earlier one, 0 to 0.99")
	flags.StringVar(&c.Input, "input", "", "`file` of events to publish, one JSON object a line; - is standard input")
	flags.BoolVar(&c.Lines, "lines", false, "the lines of -input are log lines, not JSON")
	flags.StringVar(&c.Topic, "topic", "", "`name` of the topic of log lines, of events that name none, or of all made events")
	flags.StringVar(&c.Source, "source", "", "`name` of where log lines come from; a part of their ids")
	flags.StringVar(&c.Run, "run", "", "`name` of the input, in the ids of lines without a time (default: the file's identity; of a pipe, random)")
	flags.BoolVar(&c.Follow, "follow", false, "read on as the input grows, through rotation by rename and by copytruncate, until stopped")
	flags.StringVar(&c.State, "state", "", "`file` where the position in the input is kept, for the next start to go on from")
	zone := flags.String("zone", "UTC", "`zone` of times in log lines that name none, such as Europe/Berlin")
	flags.DurationVar(&c.Wait, "wait", 30*time.Second, "how long to wait for an aggregator that is not up yet")
	flags.DurationVar(&c.Timeout, "timeout", 30*time.Second, "how long one attempt at a request may take")
	flags.IntVar(&c.Retry.MaxAttempts, "max-attempts", c.Retry.MaxAttempts, "attempts at a request, the first included")
	flags.DurationVar(&c.Retry.MaxElapsed, "max-elapsed", c.Retry.MaxElapsed, "how long a request is tried again; 0: for ever, which -follow does by default")
	origins, err := settings.Parse(flags, args, lookup)
	switch {
	case errors.Is(err, flag.ErrHelp):
		settings.Help(usage, "Publishes events that it makes, or those of -input, until each is acknowledged.\n\nUsage: loadgen publish [flags]\n\nExit 0: all was acknowledged. 1: something was not, and it says what. 2: a bad flag or file.\n\nEach flag is also read from SEKALI_<FLAG>, such as SEKALI_TOKEN_FILE for -token-file, and from the file of -config.", flags)
		return c, err
	case err != nil:
		return c, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if c.Zone, err = time.LoadLocation(*zone); err != nil {
		return c, fmt.Errorf("%w: -zone: %w", ErrConfig, err)
	}
	if c.Follow && !origins.Given("max-elapsed") || origins.Given("max-elapsed") && c.Retry.MaxElapsed == 0 {
		c.retryForEver(origins.Given("max-attempts"))
	}
	if c.Input != "" && !origins.Given("count") {
		c.Count = unbounded
	}
	if c.Input != "" && (origins.Given("duplicates") || origins.Given("seed")) {
		return c, fmt.Errorf("%w: -seed and -duplicates are of the stream, and -input is given", ErrConfig)
	}
	return c, origins.Explain(c.check())
}

// retryForEver takes away the bounds, but for one on attempts that was given.
func (c *Config) retryForEver(attemptsGiven bool) {
	c.Retry.MaxElapsed = math.MaxInt64
	if !attemptsGiven {
		c.Retry.MaxAttempts = math.MaxInt
	}
}

func (c Config) zone() *time.Location {
	if c.Zone == nil {
		return time.UTC
	}
	return c.Zone
}

func (c Config) pollEvery() time.Duration {
	if c.poll == 0 {
		return pollEvery
	}
	return c.poll
}

func (c Config) clock() clock { return clock{zone: c.zone(), now: time.Now} }

// check names the first setting that cannot be.
func (c Config) check() error {
	_, badURL := delivery.Target(c.URL, "")
	_, badAck := delivery.Target(c.URL, c.Ack)
	badTopic := stream.CheckTopic(c.Topic)
	var err error
	switch {
	case badURL != nil:
		err = fmt.Errorf("-url=%w", badURL)
	case badAck != nil:
		err = fmt.Errorf("-ack: %w", badAck)
	case badTopic != nil:
		err = fmt.Errorf("-topic: %w", badTopic)
	case c.PerRequest < 1 || c.PerRequest > maxPerBatch:
		err = fmt.Errorf("-per-request=%d, want 1 to %d", c.PerRequest, maxPerBatch)
	case !(c.Rate >= 0 && c.Rate <= maxRate): // NaN too
		err = fmt.Errorf("-rate=%v, want 0 to %v", c.Rate, maxRate)
	case c.Lines && c.Input == "":
		err = errors.New("-lines wants an -input")
	case c.Lines && c.Topic == "":
		err = errors.New("-lines wants a -topic: a log line names none")
	case c.Source != "" && !c.Lines:
		err = errors.New("-source is of -lines")
	case c.Run != "" && c.Input == "":
		err = errors.New("-run is of an -input")
	case (c.Follow || c.State != "") && (c.Input == "" || c.Input == "-"):
		err = errors.New("-follow and -state want a file as -input")
	case len(c.Source) > 255:
		err = errors.New("-source is longer than 255 bytes")
	case c.Wait < 0:
		err = fmt.Errorf("-wait=%v is negative", c.Wait)
	case c.Timeout <= 0:
		err = fmt.Errorf("-timeout=%v, want more than 0", c.Timeout)
	case c.Retry.MaxAttempts < 1:
		err = fmt.Errorf("-max-attempts=%d, want at least 1", c.Retry.MaxAttempts)
	case c.Retry.MaxElapsed < 0:
		err = fmt.Errorf("-max-elapsed=%v is negative", c.Retry.MaxElapsed)
	default:
		err = c.Retry.Validate()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}

// token reads the bearer token.
func (c Config) token() (string, error) {
	if c.TokenFile == "" {
		return "", nil
	}
	b, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return "", fmt.Errorf("%w: -token-file: %w", ErrConfig, err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" || strings.ContainsAny(token, "\r\n") {
		return "", fmt.Errorf("%w: -token-file: %s does not hold one line", ErrConfig, c.TokenFile)
	}
	return token, nil
}
