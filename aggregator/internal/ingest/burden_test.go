package ingest_test

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"google.golang.org/protobuf/encoding/protowire"

	"sekali/aggregator/event"
	"sekali/aggregator/internal/ingest"
)

func ndjsonOf(in *ingest.Input) (*event.Request, error) { return ingest.JSON(in, "t") }

func bulkOf(in *ingest.Input) (*event.Request, error) {
	r, _, err := ingest.Bulk(in, "t")
	return r, err
}

func lokiProtoOf(in *ingest.Input) (*event.Request, error) { return ingest.LokiProto(in, 64<<20) }

// lokiPushOf is a push of one stream: labels, and entries as fields.
func lokiPushOf(labels string, entries ...[]byte) string {
	push := otlpField(1, slices.Concat(otlpField(1, []byte(labels)), slices.Concat(entries...)))
	return string(s2.EncodeSnappy(nil, push))
}

// manyNamed are pairs with names of four letters, no two alike.
func manyNamed(n int, pair func(name string) string) string {
	var b strings.Builder
	for i := range n {
		name := []byte{byte('a' + i%26), byte('a' + i/26%26), byte('a' + i/676%26), byte('a' + i/17576)}
		b.WriteString(pair(string(name)))
	}
	return b.String()
}

// scopesOf is a request of one resource of n KiB with 8n scopes that have no records.
func scopesOf(n int) (wire, json string) {
	name := strings.Repeat("x", n<<10)
	resource := otlpField(1, otlpField(1, otlpKeyValue("k", name)))
	wire = string(otlpField(1, append(resource, bytes.Repeat(otlpField(2, nil), 8*n)...)))
	json = `{"resourceLogs":[{"resource":{"attributes":[{"key":"k","value":{"stringValue":"` + name + `"}}]},"scopeLogs":[` +
		strings.Repeat("{},", 8*n-1) + `{}]}]}`
	return wire, json
}

// TestCostIsLinear: four times the body costs about four times as much, and not 16.
func TestCostIsLinear(t *testing.T) {
	const most = 10
	for name, one := range map[string]struct {
		m    mapper
		n    int
		body func(n int) string
	}{
		"scopes without records": {ingest.OTLP, 256, func(n int) string { wire, _ := scopesOf(n); return wire }},
		"the same in JSON":       {ingest.OTLPJSON, 256, func(n int) string { _, json := scopesOf(n); return json }},
		"nested arrays": {ingest.OTLPJSON, 350, func(n int) string {
			return `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":` + strings.Repeat(`{"arrayValue":{"values":[`, n) +
				`{"stringValue":"` + strings.Repeat("x", 4000*n) + `"}` + strings.Repeat("]}}", n) + `}]}]}]}`
		}},
		"labels of Loki": {lokiProtoOf, 5000, func(n int) string {
			return lokiPushOf("{" + strings.Repeat(`a="b",`, n) + "}")
		}},
		"labels and spaces behind them": {lokiProtoOf, 5000, func(n int) string {
			return lokiPushOf("{" + strings.Repeat(`a="b",`, n) + strings.Repeat(" ", 8*n) + "}")
		}},
	} {
		fastest := func(n int) time.Duration {
			least := time.Duration(math.MaxInt64)
			in := input(one.body(n))
			for range 5 {
				from := time.Now()
				if _, err := one.m(in); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				least = min(least, time.Since(from))
			}
			return least
		}
		once, fourTimes := fastest(one.n), fastest(4*one.n)
		t.Logf("%s: %v, of four times as much %v", name, once, fourTimes)
		if fourTimes > most*once+5*time.Millisecond {
			t.Errorf("%s: %v, of four times as much %v", name, once, fourTimes)
		}
	}
}

// taken is how many bytes a mapper took of a body, together.
func taken(m mapper, in *ingest.Input) (int, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := m(in)
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc), err
}

// widened are bodies of about so many bytes whose events take more: control characters are six
// bytes each as JSON.
func widened(size int) map[string]struct {
	m    mapper
	body string
} {
	text := strings.Repeat("\x01", size)
	record := func(fields ...[]byte) string {
		return string(otlpField(1, otlpField(2, otlpField(2, slices.Concat(fields...)))))
	}
	value := otlpField(1, []byte(text))
	return map[string]struct {
		m    mapper
		body string
	}{
		"a body":            {ingest.OTLP, record(otlpField(5, value))},
		"a severity":        {ingest.OTLP, record(otlpField(3, []byte(text)))},
		"an attribute":      {ingest.OTLP, record(otlpField(6, otlpField(2, value)))},
		"an attribute name": {ingest.OTLP, record(otlpField(6, otlpField(1, []byte(text))))},
		"empty attributes":  {ingest.OTLP, record(bytes.Repeat(otlpField(6, nil), size))},
		"empty values":      {ingest.OTLP, record(otlpField(5, otlpField(5, bytes.Repeat(otlpField(1, nil), size))))},
		"a resource":        {ingest.OTLP, string(otlpField(1, otlpField(1, otlpField(1, otlpField(2, value)))))},
		"a scope":           {ingest.OTLP, string(otlpField(1, otlpField(2, otlpField(1, otlpField(1, []byte(text))))))},
		"a line":            {ingest.SplunkRaw, text},
		"a line of any":     {ndjsonOf, text},
		"a document":        {bulkOf, `{"create":{}}` + "\n" + text},
		"a line of Loki":    {lokiProtoOf, lokiPushOf("{}", otlpField(2, otlpField(2, []byte(text))))},
		"labels":            {lokiProtoOf, lokiPushOf(text)},
		"metadata":          {lokiProtoOf, lokiPushOf("{}", otlpField(2, otlpField(3, otlpField(2, []byte(text)))))},
		"data of a CloudEvent": {func(in *ingest.Input) (*event.Request, error) {
			in.Header = input("", "Ce-Specversion", "1.0", "Content-Type", "text/plain").Header
			return ingest.CloudEvents(in)
		}, text},
	}
}

// TestWideEventsAreBounded: an event that takes more than may wait is refused before it is made.
func TestWideEventsAreBounded(t *testing.T) {
	const size, most, few = 2 << 20, 6 << 20, 24 << 20 // bytes
	for name, one := range widened(size) {
		in := input(one.body)
		in.Most = most
		n, err := taken(one.m, in)
		t.Logf("%s: %d KB", name, n>>10)
		if !errors.Is(err, event.ErrTooLarge) {
			t.Errorf("%s: %v, want %v", name, err, event.ErrTooLarge)
		}
		if n > few {
			t.Errorf("%s: %d KB were taken for a body of %d KB", name, n>>10, len(one.body)>>10)
		}
	}
}

// TestWideEventsAreAskedFor: without room for such an event nothing of it is made.
func TestWideEventsAreAskedFor(t *testing.T) {
	const size, few = 2 << 20, 24 << 20 // bytes
	all := widened(size)
	pair := func(name string) string { return string(otlpField(3, otlpField(1, []byte(name)))) }
	type body = struct {
		m    mapper
		body string
	}
	all["pairs of metadata"] = body{lokiProtoOf, lokiPushOf("{}", otlpField(2, []byte(manyNamed(200_000, pair))))}
	all["pairs of labels"] = body{lokiProtoOf, lokiPushOf(manyNamed(200_000, func(name string) string { return name + `="",` }))}
	broken := strings.Repeat("\xff", size)
	all["a line of Loki that is not UTF-8"] = body{ingest.Loki, `{"streams":[{"values":[["1","` + broken + `"]]}]}`}
	all["a record that is not UTF-8"] = body{ingest.OTLPJSON, `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"severityText":"` + broken + `"}]}]}]}`}
	all["an action that is not UTF-8"] = body{bulkOf, `{"create":{"_id":"` + broken + `"}}` + "\n{}"}
	for name, one := range all {
		in := input(one.body)
		in.Grow = func(int) error { return io.ErrShortBuffer }
		n, err := taken(one.m, in)
		t.Logf("%s: %d KB", name, n>>10)
		if !errors.Is(err, io.ErrShortBuffer) {
			t.Errorf("%s: %v where there is no room", name, err)
		}
		if n > few {
			t.Errorf("%s: %d KB were taken for a body of %d KB", name, n>>10, len(one.body)>>10)
		}
	}
}

// TestSmallElementsAreCounted: what stands in an array of OTLP's takes what a record does, and be
// it null; pairs and parts of Loki's take less, and are asked for.
func TestSmallElementsAreCounted(t *testing.T) {
	const n, few = 1_500_000, 1 << 20
	var names strings.Builder
	for i := range n / 10 {
		fmt.Fprintf(&names, `"%x":"",`, i)
	}
	for name, one := range map[string]struct {
		m    mapper
		body string
		want error
	}{
		"records": {ingest.OTLPJSON, `{"resourceLogs":[{"scopeLogs":[{"logRecords":[` + strings.Repeat("null,", n) + `null]}]}]}`, event.ErrTooLarge},
		"numbers": {ingest.OTLPJSON, `{"resourceLogs":[{"scopeLogs":[{"logRecords":[` + strings.Repeat("1 , ", n) + `1]}]}]}`, event.ErrTooLarge},
		"values":  {ingest.OTLPJSON, `{"resourceLogs":[{"resource":{"attributes":[{"value":{"arrayValue":{"values":[` + strings.Repeat("null,", n) + `null]}}}]}}]}`, event.ErrTooLarge},
		"parts":   {ingest.Loki, `{"streams":[{"values":[["1","l",` + strings.Repeat("1,", n) + `1]]}]}`, io.ErrShortBuffer},
		"labels":  {ingest.Loki, `{"streams":[{"stream":{` + names.String() + `"a":""},"values":[]}]}`, io.ErrShortBuffer},
	} {
		in := input(one.body)
		in.Grow = func(int) error { return io.ErrShortBuffer }
		if n, err := taken(one.m, in); !errors.Is(err, one.want) || n > few {
			t.Errorf("%s: %v, want %v; %d KB were taken", name, err, one.want, n>>10)
		}
	}
}

// TestDecodedStaysCounted: what a body takes once decoded is asked for until its events are made.
func TestDecodedStaysCounted(t *testing.T) {
	in := input(`{"streams":[{"stream":{"k":"` + strings.Repeat("x", 10_000) + `"},"values":[["1","l",` + strings.Repeat("1,", 300_000) + `1]` +
		strings.Repeat(`,["1","l"]`, 500) + `]}]}`)
	first, last := 0, 0
	in.Grow = func(n int) error { first, last = cmp.Or(first, n), n; return nil }
	if _, err := ingest.Loki(in); err != nil || last <= first {
		t.Errorf("%v: asked for %d bytes to decode it, and for %d with the events", err, first, last)
	}
}

// TestOTLPContentIDs: a record's id is the hash of the hash of its resource and its scope, and of
// the record, as it was in all versions.
func TestOTLPContentIDs(t *testing.T) {
	var body []byte
	var want []string
	record := otlpLog("a line", 1764295200000000000)
	for _, name := range []string{"", "shop", strings.Repeat("x", 300)} {
		resource := otlpField(1, otlpKeyValue("r", name))
		logs := otlpField(1, resource)
		for _, scope := range [][]byte{nil, otlpField(1, []byte("a")), otlpField(1, []byte(strings.Repeat("y", 200)))} {
			logs = append(logs, otlpField(2, otlpField(1, []byte{}))...) // a scope without records
			logs = append(logs, otlpField(2, append(otlpField(1, scope), otlpField(2, record)...))...)
			origin := sha256.Sum256(protowire.AppendBytes(protowire.AppendBytes(nil, resource), scope))
			id := sha256.Sum256(append(origin[:], record...))
			want = append(want, hex.EncodeToString(id[:16]))
		}
		body = append(body, otlpField(1, logs)...)
	}
	r, err := ingest.OTLP(input(string(body)))
	var got []string
	for _, line := range described(t, r, err) {
		got = append(got, idOf(line))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestSharedTextsArePutRightOnce: a topic and a source that are too long are hashed once, not for
// each line.
func TestSharedTextsArePutRightOnce(t *testing.T) {
	const lines = 2000
	in := input(strings.Repeat("a\nb\n", lines/2))
	in.Topic, in.Source = strings.Repeat("t", 7000), strings.Repeat("s", 7000)
	var r *event.Request
	allocations := testing.AllocsPerRun(2, func() { r = must(ingest.SplunkRaw(in)) })
	if allocations > lines+500 {
		t.Errorf("%.0f allocations for %d lines", allocations, lines)
	}
	sum := sha256.New()
	for _, part := range []string{in.Source, "a"} {
		n := len(part)
		sum.Write([]byte{byte(n), byte(n >> 8), 0, 0, 0})
		io.WriteString(sum, part)
	}
	if id := fmt.Sprintf("%x", sum.Sum(nil)[:16]); idOf(described(t, r, nil)[0]) != id {
		t.Errorf("got %q, want the id %s", described(t, r, nil)[0][:20], id)
	}
}

// TestLongIDs: an id of the request that is too long ends with the hash of it and the ordinal, as
// any text does.
func TestLongIDs(t *testing.T) {
	in := input(strings.Repeat("1\n", 120))
	in.ID = strings.Repeat("\x01é", 200)
	for i, line := range described(t, must(ndjsonOf(in)), nil) {
		whole := in.ID
		if i > 0 {
			whole += fmt.Sprintf("-%d", i+1)
		}
		n := len(whole)
		sum := sha256.Sum256(append([]byte{byte(n), byte(n >> 8), 0, 0, 0}, whole...))
		if want := fmt.Sprintf("%s~%x", strings.Repeat("\ufffdé", 44), sum[:16]); idOf(line) != want {
			t.Fatalf("%d: got %s, want %s", i, idOf(line), want)
		}
	}
}
