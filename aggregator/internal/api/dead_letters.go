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

// maxDeadLetters bounds a page, beside its bytes.
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
	if !a.checkCursor(ctx, page.After, a.store.LastDeadLetter) {
		return
	}
	if !a.pages.fits(pageBytes) {
		a.unreadable(ctx, a.noRoom()) // without having the store read for nothing
		return
	}
	page.Limit, page.Bytes = min(page.Limit, maxDeadLetters), pageBytes
	read, cancel := context.WithTimeout(context.Background(), readBudget)
	defer cancel()
	letters, full, err := a.store.DeadLetters(read, page)
	if err != nil {
		a.unreadable(ctx, err)
		return
	}
	body := deadLettersPage{DeadLetters: letters}
	if full {
		body.NextAfter = &letters[len(letters)-1].ID
	}
	a.answer(ctx, fasthttp.StatusOK, body, nil)
}
