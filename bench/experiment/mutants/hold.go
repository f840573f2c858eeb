package mutants

import (
	"fmt"
	"os"
	"time"
)

// queue is the load that leaves a queue behind, however fast the machine is: the proxy holds the
// database's write lock while it lasts.
const queue = "queue"

// calm is how long no request must have come until the load has ended. The lab takes far less to
// ask /stats after the last one, and to read what that calls committed.
const calm = time.Second

// hold locks the database against the aggregator until the load has ended.
func (l *liar) hold() {
	l.holding.Lock()
	defer l.holding.Unlock()
	if l.held {
		return
	}
	db, err := open(l.data)
	if err == nil {
		_, err = db.Exec("BEGIN IMMEDIATE")
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "mutants: the database is not locked: %v\n", err)
		return
	}
	l.held = true
	go func() {
		for !l.idle(calm) {
			time.Sleep(calm / 50)
		}
		l.holding.Lock()
		defer l.holding.Unlock()
		l.held = false
		_ = db.Close() // which ends the transaction
	}()
}
