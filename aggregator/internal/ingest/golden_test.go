package ingest_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"sekali/aggregator/event"
	"sekali/aggregator/internal/ingest"
)

var update = flag.Bool("update", false, "write testdata/golden.txt")

// golden is what the mappers make of odd requests, a section each, and of random ones, a digest of
// many. An id that changes stores again what is stored, and a payload that changes is a conflict:
// so this file changes only where a change of both is meant, and the changelog says so.
const golden = "testdata/golden.txt"

type mapper func(*ingest.Input) (*event.Request, error)

func outcome(m mapper, in *ingest.Input) string { return told(m(in)) }

// told is all that a mapper made of a request, but for the words of an error.
func told(r *event.Request, err error) string {
	var b strings.Builder
	switch {
	case ingest.IsMalformed(err):
		b.WriteString("malformed\n")
	case err != nil:
		fmt.Fprintf(&b, "%v\n", err)
	}
	if r == nil {
		return b.String()
	}
	events, err := event.Decode(string(r.Data))
	if err != nil || len(events) != r.Events {
		fmt.Fprintf(&b, "%d events, decoded %d: %v\n", r.Events, len(events), err)
	}
	for _, e := range events {
		fmt.Fprintf(&b, "%q %q %s %q %s\n", e.Topic, e.ID, e.Timestamp, e.Source, e.Payload)
	}
	for _, refused := range r.Rejections {
		fmt.Fprintf(&b, "rejected %d %s %q\n", refused.Index, refused.Code, refused.Raw)
	}
	return b.String()
}

// bulkOutcome has the items of the answer too.
func bulkOutcome(in *ingest.Input) string {
	var all []ingest.BulkItem
	text := outcome(func(in *ingest.Input) (r *event.Request, err error) {
		r, all, err = ingest.Bulk(in, "fallback")
		return r, err
	}, in)
	for _, item := range all {
		text += fmt.Sprintf("%s %q %q\n", item.Action, item.Index, item.ID)
	}
	return text
}

func uploadOutcome(in *ingest.Input) (text string) {
	u := ingest.NewUpload(in, bytes.NewReader(in.Body))
	for {
		r, err := u.Piece()
		text += told(r, err)
		if err != nil {
			return text + fmt.Sprintf("%q\n", u.Bad)
		}
	}
}

// protocols are all mappers, each with a maker of odd bodies.
var protocols = []struct {
	name string
	do   func(*ingest.Input) string
	body func(odd) []byte
}{
	{"otlp", by(ingest.OTLP), odd.wireRequest},
	{"otlp-json", by(ingest.OTLPJSON), odd.otlpJSONBody},
	{"json", by(func(in *ingest.Input) (*event.Request, error) { return ingest.JSON(in, "hooks") }), odd.documents},
	{"bulk", bulkOutcome, odd.bulkBody},
	{"splunk", by(ingest.Splunk), odd.splunkBody},
	{"splunk-raw", by(ingest.SplunkRaw), odd.documents},
	{"cloudevents", by(ingest.CloudEvents), odd.cloudBody},
	{"loki", by(ingest.Loki), odd.lokiBody},
	{"loki-proto", by(func(in *ingest.Input) (*event.Request, error) { return ingest.LokiProto(in, 1<<20) }), odd.lokiPush},
	{"journald", uploadOutcome, odd.journal},
}

func by(m mapper) func(*ingest.Input) string {
	return func(in *ingest.Input) string { return outcome(m, in) }
}

// oddRecords are the records by which a mapper of OTLP could go wrong.
func oddRecords() map[string][]byte {
	deep := []byte(nil)
	for range 2501 {
		deep = otlpField(5, otlpField(1, deep))
	}
	array := otlpField(5, slices.Concat(otlpField(1, wireVarint(3, math.MaxUint64)), otlpField(1, nil), otlpField(1, otlpField(6, otlpField(1, otlpKeyValue("", "empty name"))))))
	nested := otlpField(6, append(otlpField(1, otlpKeyValue("a", "b")), otlpField(1, append(otlpField(1, []byte("list")), otlpField(2, array)...))...))
	value := func(content []byte) []byte { return otlpField(5, content) }
	at := func(n uint64) []byte { return wireFixed64(1, n) }
	return map[string][]byte{
		"nothing":                             nil,
		"nested":                              value(nested),
		"nested too deep":                     value(deep),
		"no value":                            value([]byte{}),
		"bytes":                               value(otlpField(7, []byte{0, 0xff, 0x10})),
		"NaN":                                 value(wireFixed64(4, math.Float64bits(math.NaN()))),
		"Infinity":                            value(wireFixed64(4, math.Float64bits(math.Inf(1)))),
		"-Infinity":                           value(wireFixed64(4, math.Float64bits(math.Inf(-1)))),
		"-0":                                  value(wireFixed64(4, math.Float64bits(math.Copysign(0, -1)))),
		"1e21":                                value(wireFixed64(4, math.Float64bits(1e21))),
		"the smallest integer":                value(wireVarint(3, 1<<63)),
		"a bool of 2":                         value(wireVarint(2, 2)),
		"two values":                          value(append(wireVarint(3, 1), otlpField(1, []byte("last"))...)),
		"a body twice":                        append(value(otlpField(1, []byte("first"))), value(otlpField(1, []byte("last")))...),
		"a body that is a number on the wire": append(value(otlpField(1, []byte("first"))), wireVarint(5, 1)...),
		"empty names":                         slices.Concat(otlpField(6, otlpKeyValue("", "")), otlpField(6, nil), otlpField(6, otlpField(2, otlpField(1, []byte("no name"))))),
		"a name twice":                        append(otlpField(6, otlpKeyValue("k", "1")), otlpField(6, otlpKeyValue("k", "2"))...),
		"bytes that are no UTF-8":             append(value(otlpField(1, []byte("a\xffb"))), otlpField(6, otlpKeyValue("\xc3", "\xed\xa0\x80"))...),
		"controls":                            value(otlpField(1, []byte("\x00\x1f\x7f\u0085\u2028\"\\\n\t<&>"))),
		"dropped":                             wireVarint(7, 1<<40|5),
		"a severity below zero":               wireVarint(2, math.MaxUint64),
		"flags":                               wireFixed32(8, math.MaxUint32),
		"odd ids":                             append(otlpField(9, []byte{1}), otlpField(10, bytes.Repeat([]byte{0xab}, 40))...),
		"both times":                          append(at(1764295200_000000000), wireFixed64(11, 1764295200_120000000)...),
		"observed alone":                      wireFixed64(11, 1764295200_000000001),
		"a time beyond int64":                 append(at(1<<63), wireFixed64(11, 1)...),
		"the last nanosecond":                 at(1<<63 - 1),
		"the first nanosecond":                at(1),
		"a uid":                               otlpField(6, otlpKeyValue("log.record.uid", "u1")),
		"a uid that is a number":              otlpField(6, append(otlpField(1, []byte("log.record.uid")), otlpField(2, wireVarint(3, math.MaxUint64))...)),
		"a uid of controls":                   otlpField(6, otlpKeyValue("log.record.uid", "a\nb")),
		"a long uid":                          otlpField(6, otlpKeyValue("log.record.uid", strings.Repeat("ü", 200))),
		"a place":                             append(otlpField(6, otlpKeyValue("log.file.path", "/var/log/a")), otlpField(6, otlpKeyValue("log.file.record_offset", "7"))...),
		"a path alone":                        otlpField(6, otlpKeyValue("log.file.path", "/var/log/a")),
		"a group":                             {0x23, 0x08, 0x01, 0x24},
		"a group that does not end":           {0x23, 0x08, 0x01},
		"field 0":                             {0x00, 0x01},
		"a cut body":                          {0x2a, 0x05, 0x0a},
		"a long tag":                          {0xaa, 0x80, 0x00, 0x03, 0x0a, 0x01, 'x'},
		"a long length":                       {0x2a, 0x83, 0x00, 0x0a, 0x01, 'x'},
		"huge":                                value(otlpField(1, []byte(strings.Repeat("0123456789é", 6000)))),
	}
}

// oddSections are the sections of the golden file that can be read.
func oddSections() (sections []string) {
	section := func(name, text string) {
		const most = 2000
		if len(text) > most {
			text = fmt.Sprintf("%d bytes, SHA-256 %x\n", len(text), sha256.Sum256([]byte(text)))
		}
		sections = append(sections, "== "+name+"\n"+text)
	}
	records := oddRecords()
	names := make([]string, 0, len(records))
	for name := range records {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		section("otlp: "+name, outcome(ingest.OTLP, input(otlpRequest("shop", otlpField(2, records[name])))))
	}
	record := otlpField(2, records["bytes"])
	resources := map[string][]byte{
		"no resource":                          otlpField(1, otlpField(2, record)),
		"a resource behind":                    otlpField(1, append(otlpField(2, record), otlpField(1, otlpField(1, otlpKeyValue("service.name", "shop")))...)),
		"no service, but hosts":                otlpField(1, append(otlpField(1, append(otlpField(1, otlpKeyValue("host.name", "h")), otlpField(1, otlpKeyValue("host.name", "h2"))...)), otlpField(2, record)...)),
		"an instance":                          otlpField(1, append(otlpField(1, append(otlpField(1, otlpKeyValue("service.instance.id", "i\x00")), otlpField(1, otlpKeyValue("host.name", "h"))...)), otlpField(2, record)...)),
		"an empty service":                     []byte(otlpRequest("", record)),
		"a long service":                       []byte(otlpRequest(strings.Repeat("s", 300), record)),
		"a scope":                              otlpField(1, otlpField(2, append(otlpField(1, slices.Concat(otlpField(1, []byte("lib")), otlpField(2, []byte("1.0")), otlpField(3, otlpKeyValue("k", "v")))), record...))),
		"a scope of nothing known":             otlpField(1, otlpField(2, append(otlpField(1, wireVarint(4, 1)), record...))),
		"a scope behind, twice":                otlpField(1, otlpField(2, slices.Concat(record, otlpField(1, otlpField(1, []byte("first"))), otlpField(1, otlpField(1, []byte("last")))))),
		"equal records":                        otlpField(1, otlpField(2, slices.Concat(record, record, record))),
		"equal records of two requests in one": slices.Concat([]byte(otlpRequest("a", record)), []byte(otlpRequest("b", record)), []byte(otlpRequest("a", record))),
		"no record":                            otlpField(1, otlpField(2, nil)),
		"no request":                           {},
		"too many":                             otlpField(1, otlpField(2, bytes.Repeat([]byte{0x12, 0x00}, event.MaxEventsPerRequest+1))),
		"damage last":                          append([]byte(otlpRequest("a", record)), 0x0a, 0x7f),
	}
	names = names[:0]
	for name := range resources {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		section("otlp: "+name, outcome(ingest.OTLP, input(string(resources[name]))))
	}
	overridden := input(otlpRequest("shop", record), "X-Source", "from a header")
	overridden.Topic, overridden.ID, overridden.Source, overridden.Time = "/resource/service.name", "/body", "header:X-Source", "1764295200"
	section("otlp: fields by query", outcome(ingest.OTLP, overridden))
	return sections
}

// TestGolden: topics, ids, times, sources and payloads are to the byte what they were.
func TestGolden(t *testing.T) {
	const requests, blocks = 100, 10 // of which one in two is calm
	got := oddSections()
	for n, p := range protocols {
		for block := range blocks {
			o, sum, lines := newOdd(uint64(1000*n+block), block%2 == 0), sha256.New(), 0
			for range requests {
				in := input(string(p.body(o)))
				if o.oneIn(4) {
					in.Topic, in.ID, in.Time, in.Source = pick(o, "", "/topic", "given"), pick(o, "", "/id", "/fields/event_id", "fixed"), pick(o, "", "/time", "/a"), pick(o, "", "/message", "header:X")
				}
				text := p.do(in)
				lines += strings.Count(text, "\n")
				_, _ = io.WriteString(sum, text)
			}
			got = append(got, fmt.Sprintf("== %s, %d random requests, block %d\n%d lines, SHA-256 %x\n", p.name, requests, block, lines, sum.Sum(nil)))
		}
	}
	text := strings.Join(got, "")
	if *update {
		if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	was, err := os.ReadFile(golden)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	want := strings.SplitAfter(string(was), "\n== ")
	for i, section := range strings.SplitAfter(text, "\n== ") {
		if i >= len(want) || section != want[i] {
			t.Fatalf("section %d is\n%s\nwant\n%s", i, section, strings.Join(want[min(i, len(want)):min(i+1, len(want))], ""))
		}
	}
	if string(was) != text {
		t.Error("the golden file has sections that nothing makes")
	}
}
