package store

import (
	"context"
	"database/sql"
	"sync"
)

// querier is a Pool, or a database that is read once.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Pool is the readers' connections. What is asked with a context, always in the same words, is
// prepared once a connection, and not each time. A context that has ended is an error, and one that
// ends later is looked at by who reads the rows, between them: database/sql and its driver would
// watch it with a goroutine each, which start and end with every query and wake idle processors.
type Pool struct {
	*sql.DB
	mu       sync.Mutex // guards prepared
	prepared map[string]*sql.Stmt
}

// QueryContext is that of sql.DB.
func (p *Pool) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, err := p.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(context.WithoutCancel(ctx), args...)
}

// QueryRowContext is that of sql.DB.
func (p *Pool) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	s, err := p.prepare(ctx, query)
	if err != nil { // a Row can only be had with the error of a query
		return p.DB.QueryRowContext(ctx, query, args...)
	}
	return s.QueryRowContext(context.WithoutCancel(ctx), args...)
}

func (p *Pool) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p.mu.Lock()
	s := p.prepared[query]
	p.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := p.DB.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if first := p.prepared[query]; first != nil { // another reader was faster
		return first, s.Close()
	}
	p.prepared[query] = s
	return s, nil
}
