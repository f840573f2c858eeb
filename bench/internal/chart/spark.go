package chart

import (
	"bytes"
	"fmt"
	"math"
)

// The size of a spark, in pixels.
const (
	sparkWidth  = 120
	sparkHeight = 24
)

// Spark draws values in their order as a line without axes, from zero to the largest, to stand in a
// row of a table. NaN leaves a gap. The blue is read on a light and on a dark page.
func Spark(values []float64) []byte {
	var text bytes.Buffer
	fmt.Fprintf(&text, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d"><path fill="none" stroke="#3b8bd0" stroke-width="1.5" d="`,
		sparkWidth, sparkHeight, sparkWidth, sparkHeight)
	largest := 0.
	for _, v := range values {
		if !math.IsNaN(v) {
			largest = max(largest, v)
		}
	}
	command := 'M'
	for i, v := range values {
		if math.IsNaN(v) {
			command = 'M'
			continue
		}
		x, y := float64(i)/float64(max(1, len(values)-1)), 0.
		if largest > 0 {
			y = v / largest
		}
		fmt.Fprintf(&text, "%c%.1f %.1f", command, 1+x*(sparkWidth-2), sparkHeight-1-y*(sparkHeight-2))
		command = 'L'
	}
	text.WriteString(`"/></svg>` + "\n")
	return text.Bytes()
}
