package senders_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
)

// TestOTelSDKGivesUp: the SDK drops a batch whose connection is cut or refused, without a repeat. A
// release that repeats it fails here: then TestOTelSDK can do without its 502.
func TestOTelSDKGivesUp(t *testing.T) {
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		(&trial{}).cut(w)
	}))
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", server.URL+"/v1/logs")
	exporter := newExporter(t)
	if err := exporter.Export(t.Context(), make([]sdklog.Record, 1)); err == nil || requests.Load() != 1 {
		t.Errorf("cut: %v after %d requests, want an error after one", err, requests.Load())
	}
	server.Close()
	begin := time.Now()
	if err := exporter.Export(t.Context(), make([]sdklog.Record, 1)); err == nil || time.Since(begin) > otelRetries/2 {
		t.Errorf("refused: %v after %v, want an error at once", err, time.Since(begin))
	}
}

// otelRetries is how long the exporter is told to repeat what it can repeat.
const otelRetries = time.Minute

// newExporter is one that the environment configures.
func newExporter(t *testing.T) *otlploghttp.Exporter {
	t.Helper()
	exporter, err := otlploghttp.New(t.Context(),
		otlploghttp.WithRetry(otlploghttp.RetryConfig{Enabled: true, InitialInterval: 50 * time.Millisecond, MaxInterval: 200 * time.Millisecond, MaxElapsedTime: otelRetries}))
	if err != nil {
		t.Fatal(err)
	}
	return exporter
}

// TestOTelSDK: the SDK repeats a batch at 502 and 503 alone (see TestOTelSDKGivesUp). So it has
// something before it that answers while the aggregator is away, as a load balancer does.
func TestOTelSDK(t *testing.T) {
	const events, perBatch = 3000, 50
	tr := newPageTrial(t)
	tr.badGateway = true
	for line := range strings.Lines(tr.configuration("OpenTelemetry SDK")) {
		name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		t.Setenv(name, value)
	}
	exporter := newExporter(t)
	provider := sdklog.NewLoggerProvider(
		sdklog.WithResource(resource.NewSchemaless(attribute.String("service.name", "trial"))),
		sdklog.WithProcessor(sdklog.NewBatchProcessor(exporter, sdklog.WithMaxQueueSize(events), sdklog.WithExportMaxBatchSize(perBatch),
			sdklog.WithExportInterval(10*time.Millisecond), sdklog.WithExportTimeout(otelRetries))))
	logger := provider.Logger("trial", log.WithInstrumentationVersion("1"))
	for n := range events {
		if n == events/3 || n == 2*events/3 {
			time.Sleep(100 * time.Millisecond) // so that there is something to kill in
			tr.kill()
		}
		var r log.Record
		r.SetTimestamp(time.Now())
		r.SetSeverity(log.SeverityInfo)
		r.SetBody(attribute.StringValue(mark(n)))
		r.AddAttributes(attribute.Int("n", n), attribute.Float64("half", float64(n)/2))
		logger.Emit(t.Context(), r)
	}
	if err := provider.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	tr.finish(outcome{Sender: "OpenTelemetry Go SDK", Version: moduleVersion(t, "go.opentelemetry.io/otel/sdk/log"), Protocol: "OTLP protobuf"}, events)
}
