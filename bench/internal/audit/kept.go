package audit

// Unanswered counts the events that may be stored and need not: that only attempts of unknown fate
// carried.
func (c *Checker) Unanswered() uint64 { return count(c.possible, c.acknowledged) }

// AddKept takes what is stored where nothing acknowledged was lost: all of that, and with
// unanswered all that may be stored besides. It is for a record of which what is stored is known by
// its number alone.
func (c *Checker) AddKept(unanswered bool) {
	kept := c.acknowledged
	if unanswered {
		kept = or(c.acknowledged, c.possible)
	}
	c.timing = nil // the order is not known
	c.stored = or(c.stored, kept)
	c.report.Stored = count(c.stored)
}
