package api

import (
	"context"

	"github.com/valyala/fasthttp"

	"sekali/aggregator/store"
)

// deadLettersPage is the answer to GET /dead-letters.
type deadLettersPage struct {
	DeadLetters []store.DeadLetter `json:"dead_letters"`
	NextAfter   *int64             `json:"next_after"` // null: these were the last
}

// maxDeadLetters bounds a page: each may be as large as a request.
const maxDeadLetters = 100

// deadLetters answers a page of the events that the database refused.
func (a *Server) deadLetters(ctx *fasthttp.RequestCtx) {
	values, err := query(ctx, "after", "limit")
	var page store.Page
	if err == nil {
		page, err = parsePage(values, false)
	}
	if err != nil {
		problem(ctx, fasthttp.StatusBadRequest, "invalid_query", err.Error())
		return
	}
	page.Limit = min(page.Limit, maxDeadLetters)
	read, cancel := context.WithTimeout(context.Background(), readBudget)
	defer cancel()
	letters, err := a.store.DeadLetters(read, page.After, page.Limit)
	if err != nil {
		a.unreadable(ctx, err)
		return
	}
	body := deadLettersPage{DeadLetters: letters}
	if len(letters) == page.Limit {
		body.NextAfter = &letters[len(letters)-1].ID
	}
	a.answer(ctx, fasthttp.StatusOK, body, 0)
}
