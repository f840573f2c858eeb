package api

import (
	"fmt"
	"strconv"

	"github.com/valyala/fasthttp"

	"sekali/aggregator/event"
	"sekali/aggregator/pipeline"
)

// published is the answer to POST /publish.
type published struct {
	Ack        pipeline.Level    `json:"ack"`
	Accepted   int               `json:"accepted"`
	Rejected   int               `json:"rejected"`
	Stored     *int              `json:"stored,omitempty"`     // at the store level
	Duplicates *int              `json:"duplicates,omitempty"` // at the store level
	Failed     int               `json:"failed,omitempty"`     // at the store level: dead letters
	Errors     []event.Rejection `json:"errors"`
	Results    []result          `json:"results,omitempty"`
	Position   string            `json:"position,omitempty"` // of a cluster's log
}

// result is what became of one event, at the store level.
type result struct {
	Index  int    `json:"index"`
	Status string `json:"status"` // stored, duplicate, failed, rejected
	Seq    int64  `json:"seq,omitempty"`
}

// What one refused event, beside its detail, and one result take in an answer, both as they wait
// and as they are sent.
const (
	rejectionBytes = 64 + len(`{"index":99999,"code":"invalid_timestamp","detail":""},`)
	resultBytes    = 32 + len(`{"index":99999,"status":"duplicate","seq":9223372036854775807},`)
)

// answerBytes bounds what the answer to a request takes, or is 0 if that is not counted: its
// refusals, whose details may double when they are quoted, and, to find the results, its events.
func answerBytes(r *event.Request, results bool) int {
	n := 0
	for _, rejection := range r.Rejections {
		n += rejectionBytes + 3*len(rejection.Detail)
	}
	if results {
		n += r.Total()*resultBytes + 2*len(r.Data)
	}
	return counted(n)
}

func (a *Server) publish(ctx *fasthttp.RequestCtx) {
	level, wantResults, err := a.publishQuery(ctx)
	if err != nil {
		problem(ctx, fasthttp.StatusBadRequest, "invalid_query", err.Error())
		return
	}
	decode, ok := publishDecoderOf(ctx)
	if !ok {
		return
	}
	a.take(ctx, intake{
		level: level, keep: a.cfg.KeepRejected,
		decode: func(body []byte) (*event.Request, error) {
			room := &held{of: &a.bodies}
			defer room.release()
			return decode(body, room.grow)
		},
		room: func(r *event.Request) int { return answerBytes(r, wantResults) },
		answer: func(r *event.Request, out pipeline.Outcome, room *held) {
			a.published(ctx, level, wantResults, r, out, room)
		},
	})
}

// publishQuery reads the level, and whether each event's result is wanted.
func (a *Server) publishQuery(ctx *fasthttp.RequestCtx) (level pipeline.Level, results bool, err error) {
	values, err := query(ctx, "ack", "results")
	level = a.cfg.Ack
	if name, ok := values["ack"]; ok && err == nil {
		level, err = a.parseLevel(name)
	}
	results = values["results"] == "true"
	if r, ok := values["results"]; ok && err == nil && r != "true" && r != "false" {
		err = fmt.Errorf("results=%.20q, want true or false", r)
	}
	if err == nil && results && level != pipeline.Store {
		err = fmt.Errorf("results=true is answered at ack=store only, this is ack=%s", level)
	}
	return level, results, err
}

// published answers a request whose events are as safe as was asked.
func (a *Server) published(ctx *fasthttp.RequestCtx, level pipeline.Level, wantResults bool, r *event.Request, out pipeline.Outcome, room *held) {
	p := published{Ack: level, Accepted: r.Events, Rejected: len(r.Rejections), Errors: r.Rejections}
	if p.Errors == nil {
		p.Errors = []event.Rejection{}
	}
	status := fasthttp.StatusAccepted
	if level == pipeline.Store {
		status = fasthttp.StatusOK
		stored := count(out.Stored)
		p.Failed = count(out.Failed)
		duplicates := r.Events - stored - p.Failed
		p.Stored, p.Duplicates = &stored, &duplicates
		if wantResults {
			var err error
			if p.Results, err = a.results(r, out); err != nil {
				a.log.Error("results not found", "error", err)
				problem(ctx, fasthttp.StatusServiceUnavailable, "disk_failing", "the events are stored, but their results could not be read")
				return
			}
		}
	}
	p.Position = a.publishedAt(ctx, out)
	if p.Accepted == 0 && p.Rejected > 0 {
		status = fasthttp.StatusUnprocessableEntity
	}
	if p.plain() {
		ctx.SetStatusCode(status)
		ctx.SetContentType(jsonType)
		var room [128]byte
		ctx.SetBody(p.append(room[:0]))
		return
	}
	a.answer(ctx, status, p, room)
}

// plain reports that the answer has neither errors nor results nor a position: as nearly all have
// not.
func (p *published) plain() bool {
	return len(p.Errors)+len(p.Results)+p.Failed == 0 && p.Position == ""
}

// append appends a plain answer as encoding/json has it, without its reflection.
func (p *published) append(to []byte) []byte {
	to = append(append(append(to, `{"ack":"`...), p.Ack...), '"')
	to = strconv.AppendInt(append(to, `,"accepted":`...), int64(p.Accepted), 10)
	to = strconv.AppendInt(append(to, `,"rejected":`...), int64(p.Rejected), 10)
	if p.Stored != nil {
		to = strconv.AppendInt(append(to, `,"stored":`...), int64(*p.Stored), 10)
	}
	if p.Duplicates != nil {
		to = strconv.AppendInt(append(to, `,"duplicates":`...), int64(*p.Duplicates), 10)
	}
	return append(to, `,"errors":[]}`...)
}

// count is how many are true.
func count(flags []bool) (n int) {
	for _, flag := range flags {
		if flag {
			n++
		}
	}
	return n
}

// results lists every event of the request in its order. A duplicate has the seq of
// the event that is stored.
func (a *Server) results(r *event.Request, out pipeline.Outcome) ([]result, error) {
	all := make([]result, 0, r.Total())
	rejections, data := r.Rejections, string(r.Data)
	for i := range r.Events {
		e, rest, err := event.Next(data)
		if err != nil {
			return nil, err
		}
		data = rest
		for len(rejections) > 0 && rejections[0].Index == len(all) {
			all = append(all, result{Index: len(all), Status: "rejected"})
			rejections = rejections[1:]
		}
		if out.Failed != nil && out.Failed[i] {
			all = append(all, result{Index: len(all), Status: "failed"})
			continue
		}
		one := result{Index: len(all), Status: "stored", Seq: out.Seqs[i]}
		if !out.Stored[i] {
			one.Status = "duplicate"
		}
		if one.Seq == 0 {
			if one.Seq, err = a.store.Seq(e.Topic, e.ID); err != nil {
				return nil, err
			}
		}
		all = append(all, one)
	}
	for range rejections {
		all = append(all, result{Index: len(all), Status: "rejected"})
	}
	return all, nil
}
