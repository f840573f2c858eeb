package store

import "sekali/internal/sqlite"

// packingsInHand is how many blocks of a batch are packed at once, beside the writer: it has the
// rows of later blocks to gather and those of earlier ones to insert.
const packingsInHand = 4

// packing is a block on its way to being packed. Between begin and await it belongs to who packs.
type packing struct {
	block    block
	packer   sqlite.Packer
	data     []byte // packed
	packed   int    // bytes of data once it is unpacked
	checksum uint32
	err      error
	panicked any // what a packing beside has panicked with; nil: it has not

	underWay bool
	done     chan struct{} // of one that is packed beside; nil: it was packed at once
}

// begin packs the block, beside the caller or at once.
func (p *packing) begin(beside bool) {
	p.done, p.panicked = nil, nil
	if !beside {
		p.pack()
		p.underWay = true
		return
	}
	done := make(chan struct{})
	p.underWay, p.done = true, done
	go func() {
		defer close(done)
		defer func() { p.panicked = recover() }() // the writer panics with it, whose batch it is
		p.pack()
	}()
}

func (p *packing) pack() {
	p.block.end()
	p.checksum = p.block.checksum()
	p.data, p.packed, p.err = p.packer.Pack(p.block.directory, p.block.data)
}

// await waits until the block is packed.
func (p *packing) await() {
	if p.done != nil {
		<-p.done
	}
	p.underWay, p.done = false, nil
}
