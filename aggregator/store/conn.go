package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
)

// conn is the writer's connection, at the driver's level: database/sql would
// convert and allocate for each of the ten values of an event (measured: 2 to 3 µs
// an event more). Its calls never carry a deadline: a statement that is cut off
// would leave open whether it happened.
type conn struct {
	driver.Conn
	statements map[string]driver.Stmt // by their SQL
}

func (c *conn) statement(sql string) (driver.Stmt, error) {
	if s, ok := c.statements[sql]; ok {
		return s, nil
	}
	s, err := c.Prepare(sql)
	if err == nil {
		c.statements[sql] = s
	}
	return s, err
}

// exec runs sql, which may be several statements, without values.
func (c *conn) exec(sql string) error {
	_, err := c.Conn.(driver.ExecerContext).ExecContext(context.Background(), sql, nil)
	return err
}

// run executes a statement that is kept prepared.
func (c *conn) run(sql string, args []driver.NamedValue) error {
	s, err := c.statement(sql)
	if err == nil {
		_, err = s.(driver.StmtExecContext).ExecContext(context.Background(), args)
	}
	return err
}

// query calls each with every row of a statement that is kept prepared.
func (c *conn) query(sql string, args []driver.NamedValue, each func([]driver.Value) error) (err error) {
	s, err := c.statement(sql)
	if err != nil {
		return err
	}
	rows, err := s.(driver.StmtQueryContext).QueryContext(context.Background(), args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	row := make([]driver.Value, len(rows.Columns()))
	for {
		switch err := rows.Next(row); err {
		case nil:
			if err := each(row); err != nil {
				return err
			}
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}

// row reads the only row of a query into *int64 and *string.
func (c *conn) row(sql string, to ...any) error {
	found := false
	err := c.query(sql, nil, func(values []driver.Value) error {
		found = true
		if len(values) != len(to) {
			return fmt.Errorf("%d columns, want %d", len(values), len(to))
		}
		for i, v := range values {
			var ok bool
			switch p := to[i].(type) {
			case *int64:
				*p, ok = v.(int64)
			case *string:
				*p, ok = v.(string)
			}
			if !ok {
				return fmt.Errorf("column %d is a %T", i, v)
			}
		}
		return nil
	})
	if err == nil && !found {
		err = errors.New("no row")
	}
	return err
}

// transaction runs body between BEGIN IMMEDIATE and COMMIT; an error of any of
// them rolls back.
func (c *conn) transaction(body func() error) error {
	if err := c.exec("BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	err := body()
	if err == nil {
		if err = c.exec("COMMIT"); err == nil {
			return nil
		}
		err = fmt.Errorf("commit: %w", err)
	}
	if rollback := c.exec("ROLLBACK"); rollback != nil {
		err = errors.Join(err, fmt.Errorf("rollback: %w", rollback))
	}
	return err
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.statements {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.Conn.Close())...)
}
