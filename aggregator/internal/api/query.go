package api

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"sekali/aggregator/event"
	"sekali/aggregator/pipeline"
	"sekali/aggregator/store"
)

// accessToken is the parameter for a token, where no header can be sent. Every route knows it.
const accessToken = "access_token"

// query reads the named parameters; any other, or one given twice, is refused.
func query(ctx *fasthttp.RequestCtx, names ...string) (map[string]string, error) {
	text := ctx.URI().QueryString()
	if len(text) == 0 {
		return nil, nil
	}
	values := map[string]string{}
	var err error
	if bytes.IndexByte(text, '%') >= 0 {
		_, err = url.QueryUnescape(string(text)) // fasthttp takes %zz for what it says
	}
	for key, value := range ctx.QueryArgs().All() {
		name := string(key)
		known := name == accessToken
		for _, n := range names {
			known = known || n == name
		}
		_, twice := values[name]
		switch {
		case !known:
			err = fmt.Errorf("unknown query parameter %.80q: there is %s", name, cmp.Or(strings.Join(names, ", "), "none here"))
		case twice:
			err = fmt.Errorf("query parameter %s is given twice", name)
		}
		values[name] = string(value)
	}
	return values, err
}

// parseSeq reads where a reader goes on: the seq of the last event that it has, 0 for none.
func parseSeq(text string) (int64, error) {
	seq, err := strconv.ParseUint(text, 10, 63) // no sign
	if err != nil {
		return 0, fmt.Errorf("%.40q, want a seq", text)
	}
	return int64(seq), nil
}

// parseTime reads a time that an event may have, and returns it as received_at is stored.
func parseTime(text string) (string, error) {
	t, err := event.ParseTime(text)
	if err != nil {
		return "", fmt.Errorf("%.40q %w (in a URL + is %%2B)", text, err)
	}
	if t = t.UTC(); t.Year() > 9999 { // in UTC; no event is received after it
		t = time.Date(9999, time.December, 31, 23, 59, 59, 999_999_999, time.UTC)
	}
	return t.Format(pipeline.ReceivedLayout), nil
}

// parsePage checks topic, after, since, until and limit. An export has no limit unless one is
// given.
func parsePage(values map[string]string, export bool) (store.Page, error) {
	page := store.Page{Limit: defaultLimit}
	var err error
	if v, ok := values["topic"]; ok {
		if err = event.CheckTopic(v); err != nil {
			return page, err
		}
		page.Topic = v
	}
	if v, ok := values["after"]; ok {
		if page.After, err = parseSeq(v); err != nil {
			return page, fmt.Errorf("after=%w", err)
		}
	}
	for name, bound := range map[string]*string{"since": &page.Since, "until": &page.Until} {
		if v, ok := values[name]; ok {
			if *bound, err = parseTime(v); err != nil {
				return page, fmt.Errorf("%s=%w", name, err)
			}
		}
	}
	most := maxLimit
	if export {
		page.Limit, most = 0, math.MaxInt
	}
	if v, ok := values["limit"]; ok {
		if page.Limit, err = strconv.Atoi(v); err != nil || page.Limit < 1 || page.Limit > most {
			return page, fmt.Errorf("limit=%.40q, want 1 to %d", v, most)
		}
	}
	return page, nil
}
