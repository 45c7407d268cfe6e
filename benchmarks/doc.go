// Package benchmarks compares this project with what its users would take instead.
package benchmarks
