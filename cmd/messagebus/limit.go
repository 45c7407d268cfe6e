package main

import "math"

// defaultMaxHeld leaves a quarter of the files for everything but held
// requests, each of which is one.
func defaultMaxHeld() int {
	files := openFiles()
	return int(min(files-files/4, math.MaxInt32))
}
