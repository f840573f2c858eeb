package api

import (
	"bytes"
	"encoding/json"
	"mime"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"sekali/aggregator/event"
)

const (
	ndjson   = "application/x-ndjson"
	jsonType = "application/json"
)

// isNDJSON are the names that one format goes by.
var isNDJSON = map[string]bool{
	ndjson: true, "application/ndjson": true, "application/jsonl": true, "application/x-jsonlines": true, "application/jsonlines": true,
}

// decoder reads the events of a body.
type decoder func(body []byte) (*event.Request, error)

// publishDecoder reads those of one for /publish.
type publishDecoder func(body []byte, grow event.Grow) (*event.Request, error)

// publishDecoderOf is what reads the body, by its media type; it answers if nothing does.
func publishDecoderOf(ctx *fasthttp.RequestCtx) (publishDecoder, bool) {
	given := string(ctx.Request.Header.ContentType())
	switch given {
	case "":
		return parseUntyped, true
	case jsonType: // as nearly all write it
		return event.ParseJSON, true
	}
	kind, parameters, err := mime.ParseMediaType(given)
	if charset := strings.ToLower(parameters["charset"]); err == nil && (charset == "" || charset == "utf-8" || charset == "utf8") {
		switch {
		case kind == jsonType:
			return event.ParseJSON, true
		case isNDJSON[kind]:
			return parseNDJSON, true
		}
	}
	problem(ctx, fasthttp.StatusUnsupportedMediaType, "unsupported_media_type",
		"Content-Type must be "+jsonType+" or "+ndjson+", in UTF-8: add the header Content-Type: "+jsonType)
	return nil, false
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// parseNDJSON passes over the mark that some editors put before UTF-8.
func parseNDJSON(body []byte, grow event.Grow) (*event.Request, error) {
	return event.ParseNDJSON(bytes.TrimPrefix(body, byteOrderMark), grow)
}

// parseUntyped reads a body without a Content-Type by its looks: it is NDJSON if its first line is
// a JSON object and not all there is, else JSON.
func parseUntyped(body []byte, grow event.Grow) (*event.Request, error) {
	first, rest, _ := bytes.Cut(bytes.TrimLeft(bytes.TrimPrefix(body, byteOrderMark), " \t\r\n"), []byte{'\n'})
	if bytes.HasPrefix(first, []byte{'{'}) && len(bytes.TrimSpace(rest)) > 0 && json.Valid(first) {
		return parseNDJSON(body, grow)
	}
	return event.ParseJSON(body, grow)
}

// prefersNDJSON reads Accept: the name under which the client wants NDJSON, if it names it and not
// JSON before it. What is asked for by a wildcard alone is JSON.
func prefersNDJSON(ctx *fasthttp.RequestCtx) (name string, ok bool) {
	const unnamed = -1.0
	lines, document, wild := 0.0, unnamed, 0.0
	for part := range strings.SplitSeq(string(ctx.Request.Header.Peek(fasthttp.HeaderAccept)), ",") {
		kind, parameters, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q := quality(parameters["q"])
		switch {
		case isNDJSON[kind] && q > lines && q > document: // of two that are as good the first
			name, lines = kind, q
		case kind == jsonType:
			document = max(document, q)
		case kind == "*/*", kind == "application/*":
			wild = max(wild, q)
		}
	}
	if document == unnamed && wild > lines {
		return "", false
	}
	return name, lines > 0 && lines >= document
}

// quality is a q of 0 to 1, and 1 for none. What is no number is nothing that is wanted.
func quality(text string) float64 {
	if text == "" {
		return 1
	}
	q, err := strconv.ParseFloat(text, 64)
	if err != nil || !(q >= 0 && q <= 1) {
		return 0
	}
	return q
}
