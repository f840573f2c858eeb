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
