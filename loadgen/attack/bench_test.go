package attack

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"sekali/loadgen/ledger"
)

// nullServer acknowledges whatever it reads, as cheaply as Go can.
func nullServer(b *testing.B, events int) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { listener.Close() })
	body := fmt.Sprintf(`{"ack":"journal","accepted":%d,"rejected":0}`, events)
	answer := []byte(fmt.Sprintf("HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				in := bufio.NewReaderSize(c, 64<<10)
				for {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					if _, err := io.Copy(io.Discard, r.Body); err != nil {
						return
					}
					if _, err := c.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// The ceiling of the generator: a closed loop against a server that does
// nothing. cpu-ns/event is of both sides and of building the bodies.
func BenchmarkAttack(b *testing.B) {
	for _, events := range []int{1, 10, 100, 500, 1000} {
		b.Run(fmt.Sprintf("events=%d", events), func(b *testing.B) {
			w := ledger.NewWriter(io.Discard)
			defer w.Close()
			a, err := New(Config{
				URL: nullServer(b, events), Stream: testStream(b), Ledger: w, EventsPerRequest: events, AheadBytes: 32 << 20,
				Phases: []Phase{{Name: "closed", Clients: 4, Requests: uint64(b.N)}},
			})
			if err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			before := cpuTime()
			summary, err := a.Run(b.Context())
			if err != nil || summary.Phases[0].Acknowledged != uint64(b.N) {
				b.Fatalf("%+v, %v", summary, err)
			}
			sent := float64(b.N) * float64(events)
			b.ReportMetric(float64(cpuTime()-before)/sent, "cpu-ns/event")
			b.ReportMetric(sent/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// The same of one event a request, by vegeta over net/http and by the light client.
func BenchmarkSmallRequests(b *testing.B) {
	for _, light := range []bool{false, true} {
		b.Run(fmt.Sprintf("light=%t", light), func(b *testing.B) {
			w := ledger.NewWriter(io.Discard)
			defer w.Close()
			a, err := New(Config{
				URL: nullServer(b, 1), Stream: testStream(b), Ledger: w, EventsPerRequest: 1, AheadBytes: 32 << 20, Light: light,
				Phases: []Phase{{Name: "closed", Clients: 64, Requests: uint64(b.N)}},
			})
			if err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			before := cpuTime()
			summary, err := a.Run(b.Context())
			if err != nil || summary.Phases[0].Acknowledged != uint64(b.N) {
				b.Fatalf("%+v, %v", summary, err)
			}
			b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/request")
		})
	}
}
