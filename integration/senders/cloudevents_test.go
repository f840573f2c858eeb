package senders_test

import (
	"context"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
)

// TestCloudEventsSDK sends in the binary and in the structured mode by turns.
func TestCloudEventsSDK(t *testing.T) {
	const events = 300
	tr := newTrial(t)
	client, err := cloudevents.NewClientHTTP(cloudevents.WithTarget(tr.proxy.URL + "/cloudevents"))
	if err != nil {
		t.Fatal(err)
	}
	for n := range events {
		if n == events/3 || n == 2*events/3 {
			go tr.kill()
			time.Sleep(down / 2)
		}
		e := cloudevents.NewEvent()
		e.SetID(mark(n))
		e.SetSource("trial/ü")
		e.SetType("org.example.trial")
		e.SetTime(time.Now())
		if err := e.SetData(cloudevents.ApplicationJSON, map[string]int{"n": n}); err != nil {
			t.Fatal(err)
		}
		ctx := binding.WithForceBinary(context.Background())
		if n%2 == 1 {
			ctx = binding.WithForceStructured(context.Background())
		}
		// The client does not repeat by itself what a cut connection has ended.
		for deadline := time.Now().Add(storedTimeout); ; time.Sleep(pollPeriod) {
			result := client.Send(ctx, e)
			if cloudevents.IsACK(result) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal(result)
			}
		}
	}
	tr.finish(outcome{Sender: "CloudEvents Go SDK", Version: moduleVersion(t, "github.com/cloudevents/sdk-go/v2"), Protocol: "CloudEvents binary, structured"}, events)
}
