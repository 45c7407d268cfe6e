package main

import (
	"os"
	"testing"

	"github.com/messagebus-go/messagebus/benchmarks/internal/measure"
)

// TestMain makes the test binary the server as well, as main does.
func TestMain(m *testing.M) {
	if os.Getenv(serverVariable) != "" {
		measure.Exit("httpclient", serve(os.Stdin, os.Stdout))
		return
	}
	os.Exit(m.Run())
}

// BenchmarkHTTPClient does a little of everything that this program measures, so that
// it keeps working. Its figures mean nothing.
func BenchmarkHTTPClient(b *testing.B) {
	for _, e := range experiments() {
		b.Run(e.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := e.measure(b.Context(), b, quick); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
