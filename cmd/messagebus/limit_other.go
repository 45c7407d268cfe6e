//go:build !unix

package main

// openFiles is how many files this process may have open: Windows has no limit
// that one meets before memory runs out.
func openFiles() uint64 { return 1 << 16 }
