package senders_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// TestOTLPAgainstOfficialTypes: random records, marshaled by the official types in both encodings,
// are stored with each of their fields as the official types have it.
func TestOTLPAgainstOfficialTypes(t *testing.T) {
	const requests, seed = 150, 7
	tr := newTrial(t, "-ack=store")
	random := rand.New(rand.NewPCG(seed, seed))
	want := map[string]map[string]any{}
	for n := range requests {
		request := randomRequest(random, n)
		for key, payload := range expected(request) {
			want[key] = payload
		}
		wire, err := proto.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		postOTLP(t, tr, "application/x-protobuf", wire)
		// The same in the other encoding is the same events.
		text, err := otlpJSON(request)
		if err != nil {
			t.Fatal(err)
		}
		postOTLP(t, tr, "application/json", text)
	}
	c := tr.waitStored(len(want))
	if c.Unique != len(want) {
		t.Errorf("%d events stored, want %d: the encodings differ in identity", c.Unique, len(want))
	}
	compareStored(t, tr, want)
}

func postOTLP(t *testing.T, tr *trial, kind string, body []byte) {
	t.Helper()
	answer, err := http.Post(tr.p.URL+"/v1/logs", kind, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != kind {
		t.Fatalf("%v: %s, %s: %q\n%s", err, answer.Status, answer.Header.Get("Content-Type"), text, body)
	}
	var response collector.ExportLogsServiceResponse
	if kind == "application/json" {
		err = protojson.Unmarshal(text, &response)
	} else {
		err = proto.Unmarshal(text, &response)
	}
	if err != nil || response.PartialSuccess != nil {
		t.Fatalf("%v: %v", err, &response)
	}
}

// otlpJSON is protobuf's own JSON but for ids, which OTLP has in hexadecimal, and enums, which it
// has as numbers.
func otlpJSON(request *collector.ExportLogsServiceRequest) ([]byte, error) {
	text, err := protojson.MarshalOptions{UseEnumNumbers: true}.Marshal(request)
	if err != nil {
		return nil, err
	}
	for _, rl := range request.ResourceLogs {
		for _, sl := range rl.ScopeLogs {
			for _, r := range sl.LogRecords {
				for _, id := range [][]byte{r.TraceId, r.SpanId} {
					if len(id) > 0 {
						text = bytes.ReplaceAll(text, []byte(strconv.Quote(base64.StdEncoding.EncodeToString(id))), []byte(strconv.Quote(hex.EncodeToString(id))))
					}
				}
			}
		}
	}
	return text, nil
}

// compareStored compares each stored event with what is wanted of it, under its log.record.uid.
func compareStored(t *testing.T, tr *trial, want map[string]map[string]any) {
	t.Helper()
	seen := 0
	for d := json.NewDecoder(bytes.NewReader(tr.export())); d.More(); seen++ {
		d.UseNumber()
		var e struct {
			Topic     string         `json:"topic"`
			ID        string         `json:"event_id"`
			Source    string         `json:"source"`
			Timestamp time.Time      `json:"timestamp"`
			Payload   map[string]any `json:"payload"`
		}
		if err := d.Decode(&e); err != nil {
			t.Fatal(err)
		}
		w, ok := want[e.ID]
		if !ok {
			t.Errorf("the id %q was not sent", e.ID)
			continue
		}
		if e.Topic != w["topic"] || e.Source != w["source"] {
			t.Errorf("%s: topic %q, source %q, want %v, %v", e.ID, e.Topic, e.Source, w["topic"], w["source"])
		}
		if at, ok := w["time"].(time.Time); ok && !at.Equal(e.Timestamp) {
			t.Errorf("%s: at %v, want %v", e.ID, e.Timestamp, at)
		}
		if !same(e.Payload, w["payload"]) {
			got, _ := json.Marshal(e.Payload)
			wanted, _ := json.Marshal(w["payload"])
			t.Errorf("%s:\n got %s\nwant %s", e.ID, got, wanted)
		}
	}
	if seen != len(want) {
		t.Errorf("%d events, want %d", seen, len(want))
	}
}

// same compares JSON values; numbers are equal if they are as integers or as floats to the bit.
func same(got, want any) bool {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for name, value := range w {
			if !same(g[name], value) {
				return false
			}
		}
		return true
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for i := range w {
			if !same(g[i], w[i]) {
				return false
			}
		}
		return true
	case int64:
		g, ok := got.(json.Number)
		return ok && g.String() == strconv.FormatInt(w, 10)
	case float64:
		g, ok := got.(json.Number)
		f, err := strconv.ParseFloat(g.String(), 64)
		return ok && err == nil && math.Float64bits(f) == math.Float64bits(w)
	}
	return reflect.DeepEqual(got, want)
}

// expected is what is to be stored of a request, by log.record.uid.
func expected(request *collector.ExportLogsServiceRequest) map[string]map[string]any {
	all := map[string]map[string]any{}
	for _, rl := range request.ResourceLogs {
		attributes := attributesOf(rl.Resource.GetAttributes())
		topic, source := "otlp", ""
		if name, ok := attributes["service.name"].(string); ok {
			topic = name
		}
		if name, ok := attributes["host.name"].(string); ok {
			source = name
		}
		if name, ok := attributes["service.instance.id"].(string); ok {
			source = name
		}
		for _, sl := range rl.ScopeLogs {
			for _, r := range sl.LogRecords {
				payload := payloadOf(r)
				payload["resource"] = attributes
				if scope := scopeOf(sl.Scope); scope != nil {
					payload["scope"] = scope
				}
				one := map[string]any{"topic": topic, "source": source, "payload": payload}
				if at := r.TimeUnixNano; at > 0 {
					one["time"] = time.Unix(0, int64(at))
				} else if at := r.ObservedTimeUnixNano; at > 0 {
					one["time"] = time.Unix(0, int64(at))
				}
				all[r.Attributes[0].Value.GetStringValue()] = one
			}
		}
	}
	return all
}

func scopeOf(s *common.InstrumentationScope) map[string]any {
	if s == nil || proto.Size(s) == 0 {
		return nil
	}
	scope := map[string]any{}
	setText(scope, "name", s.Name)
	setText(scope, "version", s.Version)
	if len(s.Attributes) > 0 {
		scope["attributes"] = attributesOf(s.Attributes)
	}
	return scope
}

func setText(object map[string]any, name, value string) {
	if value != "" {
		object[name] = value
	}
}

func payloadOf(r *logs.LogRecord) map[string]any {
	p := map[string]any{"attributes": attributesOf(r.Attributes)}
	if r.SeverityNumber != 0 {
		p["severity_number"] = int64(r.SeverityNumber)
	}
	setText(p, "severity_text", r.SeverityText)
	setText(p, "event_name", r.EventName)
	setText(p, "trace_id", hex.EncodeToString(r.TraceId))
	setText(p, "span_id", hex.EncodeToString(r.SpanId))
	if r.Body != nil && proto.Size(r.Body) > 0 {
		p["body"] = valueOf(r.Body)
	}
	if r.DroppedAttributesCount > 0 {
		p["dropped_attributes_count"] = int64(r.DroppedAttributesCount)
	}
	if r.Flags > 0 {
		p["flags"] = int64(r.Flags)
	}
	if r.ObservedTimeUnixNano > 0 && r.TimeUnixNano > 0 {
		p["observed_time"] = time.Unix(0, int64(r.ObservedTimeUnixNano)).UTC().Format(time.RFC3339Nano)
	}
	return p
}

func attributesOf(all []*common.KeyValue) map[string]any {
	object := map[string]any{}
	for _, kv := range all {
		object[kv.Key] = valueOf(kv.Value)
	}
	return object
}

func valueOf(v *common.AnyValue) any {
	switch v := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return v.StringValue
	case *common.AnyValue_BoolValue:
		return v.BoolValue
	case *common.AnyValue_IntValue:
		return v.IntValue
	case *common.AnyValue_DoubleValue:
		switch {
		case math.IsNaN(v.DoubleValue):
			return "NaN"
		case math.IsInf(v.DoubleValue, 1):
			return "Infinity"
		case math.IsInf(v.DoubleValue, -1):
			return "-Infinity"
		}
		return v.DoubleValue
	case *common.AnyValue_BytesValue:
		return base64.StdEncoding.EncodeToString(v.BytesValue)
	case *common.AnyValue_ArrayValue:
		array := []any{}
		for _, one := range v.ArrayValue.Values {
			array = append(array, valueOf(one))
		}
		return array
	case *common.AnyValue_KvlistValue:
		return attributesOf(v.KvlistValue.Values)
	}
	return nil
}

// randomRequest is a request of a few resources, scopes and records. Each record has a
// log.record.uid, by which it is found again.
func randomRequest(random *rand.Rand, n int) *collector.ExportLogsServiceRequest {
	request := &collector.ExportLogsServiceRequest{}
	for i := range 1 + random.IntN(2) {
		rl := &logs.ResourceLogs{Resource: &resource.Resource{Attributes: randomAttributes(random, 2)}}
		for _, name := range []string{"service.name", "host.name", "service.instance.id"} {
			if random.IntN(2) == 0 {
				rl.Resource.Attributes = append(rl.Resource.Attributes, keyValue(name, text("x"+name)))
			}
		}
		for j := range 1 + random.IntN(2) {
			sl := &logs.ScopeLogs{Scope: &common.InstrumentationScope{}}
			if random.IntN(2) == 0 {
				sl.Scope.Name, sl.Scope.Version, sl.Scope.Attributes = randomText(random), randomText(random), randomAttributes(random, 1)
			}
			for k := range 1 + random.IntN(4) {
				sl.LogRecords = append(sl.LogRecords, randomRecord(random, fmt.Sprintf("uid-%d-%d-%d-%d", n, i, j, k)))
			}
			rl.ScopeLogs = append(rl.ScopeLogs, sl)
		}
		request.ResourceLogs = append(request.ResourceLogs, rl)
	}
	return request
}

func randomRecord(random *rand.Rand, uid string) *logs.LogRecord {
	r := &logs.LogRecord{
		SeverityNumber: logs.SeverityNumber(random.IntN(25)), SeverityText: randomText(random), EventName: randomText(random),
		Attributes: append([]*common.KeyValue{keyValue("log.record.uid", text(uid))}, randomAttributes(random, 3)...),
		Flags:      random.Uint32() >> random.IntN(33), DroppedAttributesCount: random.Uint32() >> random.IntN(33),
	}
	if random.IntN(4) > 0 {
		r.TimeUnixNano = uint64(random.Int64N(4e18)) + 1
	}
	if random.IntN(4) > 0 || r.TimeUnixNano == 0 { // else the time of receipt makes the repeat a conflict
		r.ObservedTimeUnixNano = uint64(random.Int64N(4e18)) + 1
	}
	if random.IntN(2) == 0 {
		r.TraceId, r.SpanId = randomBytes(random, 16), randomBytes(random, 8)
	}
	if random.IntN(5) > 0 {
		r.Body = randomValue(random, 3)
	}
	return r
}

func keyValue(key string, value *common.AnyValue) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: value}
}

func text(s string) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: s}}
}

func randomAttributes(random *rand.Rand, depth int) (all []*common.KeyValue) {
	for i := range random.IntN(4) {
		all = append(all, keyValue(fmt.Sprint("k", i, randomText(random)), randomValue(random, depth)))
	}
	return all
}

func randomText(random *rand.Rand) string {
	var b strings.Builder
	for range random.IntN(8) {
		b.WriteString([]string{"a", "\"", "\\", "\n", "ü", "\u2028", "\U0001f600", "<", "\x00", "\x7f", "0"}[random.IntN(11)])
	}
	return b.String()
}

func randomBytes(random *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.UintN(256))
	}
	return b
}

func randomValue(random *rand.Rand, depth int) *common.AnyValue {
	kinds := 8
	if depth == 0 {
		kinds = 6
	}
	v := &common.AnyValue{}
	switch random.IntN(kinds) {
	case 0: // empty
	case 1:
		return text(randomText(random))
	case 2:
		v.Value = &common.AnyValue_BoolValue{BoolValue: random.IntN(2) == 0}
	case 3:
		v.Value = &common.AnyValue_IntValue{IntValue: int64(random.Uint64()) >> random.IntN(64)}
	case 4:
		v.Value = &common.AnyValue_DoubleValue{DoubleValue: randomDouble(random)}
	case 5:
		v.Value = &common.AnyValue_BytesValue{BytesValue: randomBytes(random, random.IntN(20))}
	case 6:
		array := &common.ArrayValue{}
		for range random.IntN(4) {
			array.Values = append(array.Values, randomValue(random, depth-1))
		}
		v.Value = &common.AnyValue_ArrayValue{ArrayValue: array}
	default:
		v.Value = &common.AnyValue_KvlistValue{KvlistValue: &common.KeyValueList{Values: randomAttributes(random, depth-1)}}
	}
	return v
}

func randomDouble(random *rand.Rand) float64 {
	switch random.IntN(8) {
	case 0:
		return math.NaN()
	case 1:
		return math.Inf(1)
	case 2:
		return math.Inf(-1)
	case 3:
		return math.Copysign(0, -1)
	case 4:
		return 0
	}
	f := math.Float64frombits(random.Uint64())
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0.5
	}
	return f
}
