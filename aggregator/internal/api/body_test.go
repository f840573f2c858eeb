package api

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
	"github.com/valyala/fasthttp"
)

// zeros is a stream of n zero bytes that ends with the last of them, or after it.
func zeros(n int, withLast bool) io.Reader {
	r := bytes.NewReader(make([]byte, n))
	if withLast {
		return iotest.DataErrReader(r)
	}
	return r
}

func TestReadBody(t *testing.T) {
	cut := errors.New("cut")
	for _, tc := range []struct {
		name             string
		r                io.Reader
		announced, limit int
		most             int64
		want             error
		bytes            int
	}{
		{"empty", zeros(0, false), 0, 1 << 20, 1 << 20, nil, 0},
		{"as announced", zeros(300<<10, false), 300 << 10, 1 << 20, 1 << 20, nil, 300 << 10},
		{"as announced, end with the last byte", zeros(300<<10, true), 300 << 10, 1 << 20, 1 << 20, nil, 300 << 10},
		{"not announced", zeros(300<<10, false), -1, 1 << 20, 4 << 20, nil, 300 << 10},
		{"as large as may be", zeros(1<<20, true), -1, 1 << 20, 4 << 20, nil, 1 << 20},
		{"one byte over", zeros(1<<20+1, true), -1, 1 << 20, 4 << 20, fasthttp.ErrBodyTooLarge, 0},
		{"announced over", zeros(0, false), 1<<20 + 1, 1 << 20, 4 << 20, fasthttp.ErrBodyTooLarge, 0},
		{"announced over the budget", zeros(0, false), 1 << 20, 1 << 20, 1 << 19, errBusy, 0},
		{"grown over the budget", zeros(1<<20, false), -1, 1 << 20, 1 << 19, errBusy, 0},
		{"cut", io.MultiReader(zeros(100<<10, false), iotest.ErrReader(cut)), -1, 1 << 20, 1 << 20, cut, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			counts := budget{most: tc.most}
			b, err := readBody(tc.r, tc.announced, tc.limit, &counts)
			if !errors.Is(err, tc.want) {
				t.Fatalf("error %v, want %v", err, tc.want)
			}
			if err == nil {
				if len(b.data) != tc.bytes || counts.taken != int64(cap(b.data)) {
					t.Errorf("%d bytes in %d, %d counted; want %d bytes", len(b.data), cap(b.data), counts.taken, tc.bytes)
				}
				b.release()
			}
			if counts.taken != 0 {
				t.Errorf("%d bytes are still counted", counts.taken)
			}
		})
	}
}

// Decompressed bytes are counted beside the compressed ones.
func TestDecompressCounts(t *testing.T) {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(make([]byte, 1<<20)); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	counts := budget{most: 1 << 20}
	if _, err := decompress("gzip", z.Bytes(), 16<<20, &counts); !errors.Is(err, errBusy) || counts.taken != 0 {
		t.Errorf("%v with %d counted, want %v with none", err, counts.taken, errBusy)
	}
	counts.most = 8 << 20
	if b, err := decompress("gzip", z.Bytes(), 16<<20, &counts); err != nil || len(b.data) != 1<<20 || counts.taken < 1<<20 {
		t.Errorf("%v with %d counted", err, counts.taken)
	}
}
