package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
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
	if err := c.Close(ctx); err != nil { // until all is stored
		log.Fatal(err)
	}
	fmt.Println(len(aggregator.events()), "events stored")
	// Output: 3 events stored
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
