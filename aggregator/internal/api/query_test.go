package api

import (
	"testing"

	"github.com/valyala/fasthttp"
)

// TestUnknownParameter: who mistypes a parameter is told which there are.
func TestUnknownParameter(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  string
	}{
		{[]string{"after", "limit"}, `unknown query parameter "afer": there is after, limit`},
		{nil, `unknown query parameter "afer": there is none here`},
	} {
		ctx := &fasthttp.RequestCtx{}
		ctx.Request.SetRequestURI("/events?afer=1")
		if _, err := query(ctx, c.names...); err == nil || err.Error() != c.want {
			t.Errorf("%v: %v, want %s", c.names, err, c.want)
		}
	}
}

// TestLimit: a page has a bound that an export has not, and who asks for more is told which.
func TestLimit(t *testing.T) {
	for _, c := range []struct {
		limit  string
		export bool
		want   string // "": it is taken
	}{
		{"10000", false, ""},
		{"10001", false, `limit="10001", want 1 to 10000`},
		{"10001", true, ""},
		{"0", true, `limit="0", want 1 to 9223372036854775807`},
		{"-1", false, `limit="-1", want 1 to 10000`},
		{"9223372036854775808", true, `limit="9223372036854775808", want 1 to 9223372036854775807`},
	} {
		got := ""
		if _, err := parsePage(map[string]string{"limit": c.limit}, c.export); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}
