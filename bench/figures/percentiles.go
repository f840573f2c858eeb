package figures

import (
	"fmt"
	"math"
	"strconv"

	"github.com/HdrHistogram/hdrhistogram-go"

	"sekali/bench/record"
)

const (
	// histogramDigits is the precision of every percentile: three significant digits.
	histogramDigits = 3
	// histogramMaxUS is an hour. A value beyond it is an error, never counted in the last bucket.
	histogramMaxUS = int64(3600e6)
	// minBeyond is how many samples must lie beyond a percentile for it to be printed.
	minBeyond = 10
	// summaryDigits is how many significant digits a figure of a summary has.
	summaryDigits = 6
)

// histogram collects microseconds.
type histogram struct {
	counts *hdrhistogram.Histogram
	err    error
}

func newHistogram() *histogram {
	return &histogram{counts: hdrhistogram.New(1, histogramMaxUS, histogramDigits)}
}

func (h *histogram) addUS(us, count int64) {
	if err := h.counts.RecordValues(us, count); err != nil && h.err == nil {
		h.err = fmt.Errorf("histogram: %d µs: %w", us, err)
	}
}

// addWindow adds what a window of the aggregator's own histogram counted.
func (h *histogram) addWindow(start, end [][2]int64) {
	before := make(map[int64]int64, len(start))
	for _, bucket := range start {
		before[bucket[0]] += bucket[1]
	}
	for _, bucket := range end {
		count := bucket[1] - before[bucket[0]]
		delete(before, bucket[0])
		if count < 0 {
			h.fell(bucket[0])
		} else if count > 0 {
			h.addUS(bucket[0], count)
		}
	}
	for value := range before {
		h.fell(value)
	}
}

func (h *histogram) fell(value int64) {
	if h.err == nil {
		h.err = fmt.Errorf("histogram: fewer counts at %d at the window's end than at its start", value)
	}
}

// milliseconds are the percentiles, with those withheld that too few samples are behind. As samples
// count what came about apart from each other, which may be fewer than the values.
func (h *histogram) milliseconds(samples int64) (record.Percentiles, error) {
	if h.err != nil {
		return record.Percentiles{}, h.err
	}
	p := record.Percentiles{Count: h.counts.TotalCount()}
	if p.Count == 0 {
		return p, nil
	}
	quantile := func(percent float64) *float64 {
		if float64(samples)*(100-percent)/100 < minBeyond {
			return nil
		}
		return figure(float64(h.counts.ValueAtQuantile(percent)) / 1000)
	}
	p.P50, p.P90, p.P99, p.P999 = quantile(50), quantile(90), quantile(99), quantile(99.9)
	p.Mean, p.Max = figure(h.counts.Mean()/1000), figure(float64(h.counts.Max())/1000)
	return p, nil
}

// LeastSamples is how many it takes for a percentile that is not withheld.
func LeastSamples(percent float64) int64 { return int64(math.Ceil(minBeyond * 100 / (100 - percent))) }

// round keeps as many digits as a summary has.
func round(x float64) float64 {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', summaryDigits, 64), 64)
	if err != nil {
		return x // infinities and NaN, which the callers do not make
	}
	return rounded
}

func figure(x float64) *float64 {
	x = round(x)
	return &x
}
