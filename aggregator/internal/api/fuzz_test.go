package api

import (
	"strconv"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// FuzzParsePage: whatever a reader asks, the page is within its bounds and goes on where the reader
// said, or is refused; and Last-Event-ID takes exactly what after takes.
func FuzzParsePage(f *testing.F) {
	for _, query := range []string{
		"", "after=0", "after=9223372036854775807&limit=10000", "after=9223372036854775808", "after=-1", "after=%2B1", "after=1_0", "after=0x1", "after=00",
		"after=1&after=2", "topic=", "topic=%zz", "topic=a%00b", "limit=0", "limit=1e9", "limit=+1", "limit=10001", "after=%00", "offset=1", "topic=';--",
	} {
		f.Add(query, true)
		f.Add(query, false)
	}
	f.Fuzz(func(t *testing.T, text string, export bool) {
		var ctx fasthttp.RequestCtx
		ctx.Request.URI().SetQueryString(text)
		values, err := query(&ctx, "topic", "after", "limit")
		if err != nil {
			return
		}
		page, err := parsePage(values, export)
		after, given := values["after"]
		if _, bad := parseSeq(after); given && bad != nil && err == nil {
			t.Fatalf("after=%q was taken, as Last-Event-ID it is not", after)
		}
		if err != nil {
			return
		}
		if page.After < 0 || given && strings.TrimLeft(after, "0") != strings.TrimLeft(strconv.FormatInt(page.After, 10), "0") {
			t.Fatalf("%q goes on after %d", text, page.After)
		}
		if _, limited := values["limit"]; page.Limit > maxLimit && !export || page.Limit < 1 && (limited || !export) {
			t.Fatalf("%q has limit %d", text, page.Limit)
		}
		if topic, given := values["topic"]; page.Topic != topic || given && topic == "" {
			t.Fatalf("%q has topic %q", text, page.Topic)
		}
	})
}
