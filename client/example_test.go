package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"strings"
	"time"

	"sekali/client"
)

func Example() {
	aggregator := newFake() // in your program: the URL of yours, http://127.0.0.1:8080
	defer aggregator.Close()

	c, err := client.New(aggregator.URL, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for i := range 3 {
		err := c.Publish(ctx, client.Event{
			Topic:   "orders",
			ID:      fmt.Sprint("order-", i), // the same order published again is dropped
			Source:  "till-3",
			Payload: json.RawMessage(`{"total":12.50}`),
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	if err := c.Close(ctx); err != nil { // until all is answered
		log.Fatal(err)
	}
	fmt.Println(len(aggregator.events()), "events stored")
	// Output: 3 events stored
}

func ExampleClient_Subscribe() {
	aggregator := newStream("order-1", "order-2", "order-3") // in your program: http://127.0.0.1:8080
	defer aggregator.Close()

	c, err := client.New(aggregator.URL, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer c.Close(ctx)
	after := uint64(1) // what you kept of the last event that you are done with; 0: from the beginning
	for e, err := range c.Subscribe(ctx, "orders", after) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(e.Seq, e.ID)
		if e.Seq == 3 {
			break
		}
	}
	// Output:
	// 2 order-2
	// 3 order-3
}

func ExampleNewHandler() {
	aggregator := newFake()
	defer aggregator.Close()

	c, err := client.New(aggregator.URL, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	logger := slog.New(client.NewHandler(c, "log", "till-3", nil))
	logger.Info("paid", "total", 12.5)
	if err := c.Close(context.Background()); err != nil {
		log.Fatal(err)
	}
	for _, e := range aggregator.events() {
		fmt.Println(e.Topic, e.Source, strings.Contains(string(e.Payload), `"msg":"paid","total":12.5`))
	}
	// Output: log till-3 true
}

func ExampleClient_Flush() {
	aggregator := newFake()
	defer aggregator.Close()

	c, err := client.New(aggregator.URL, client.Options{
		Failed: func(e client.Event, err error) { fmt.Println(e.ID, err) },
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer c.Close(ctx)
	for _, payload := range []string{`"good"`, `"bad"`, `"good"`} {
		if err := c.Publish(ctx, client.Event{Topic: "t", ID: "7", Payload: json.RawMessage(payload)}); err != nil {
			log.Fatal(err)
		}
	}
	if err := c.Flush(ctx); errors.Is(err, client.ErrFailed) {
		fmt.Println(err)
	}
	// Output:
	// 7 client: rejected with 202 invalid_type: bad
	// client: events failed: 1, the first: client: rejected with 202 invalid_type: bad
}
