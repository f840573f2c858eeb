package senders_test

import (
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
)

// TestOTelSDK: the SDK gives a batch up when its connection is cut, and repeats it at 502 and 503.
// So it has something before it that answers while the aggregator is away, as a load balancer does.
func TestOTelSDK(t *testing.T) {
	const events, perBatch = 3000, 50
	tr := newTrial(t)
	tr.badGateway = true
	exporter, err := otlploghttp.New(t.Context(), otlploghttp.WithEndpointURL(tr.proxy.URL+"/v1/logs"),
		otlploghttp.WithRetry(otlploghttp.RetryConfig{Enabled: true, InitialInterval: 50 * time.Millisecond, MaxInterval: 200 * time.Millisecond, MaxElapsedTime: time.Minute}))
	if err != nil {
		t.Fatal(err)
	}
	provider := sdklog.NewLoggerProvider(
		sdklog.WithResource(resource.NewSchemaless(attribute.String("service.name", "trial"))),
		sdklog.WithProcessor(sdklog.NewBatchProcessor(exporter, sdklog.WithMaxQueueSize(events), sdklog.WithExportMaxBatchSize(perBatch),
			sdklog.WithExportInterval(10*time.Millisecond), sdklog.WithExportTimeout(time.Minute))))
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
