package ingest

// For the tests that hold what is fast to what is not.
var (
	PlainWire = plainWire
	JSONWire  = jsonWire
)
