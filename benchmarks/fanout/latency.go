package main

import (
	"slices"
	"time"
)

// latencies are how long deliveries were on their way. They may be sorted.
type latencies []time.Duration

// percentile returns the time that p of a hundred deliveries did not exceed.
func (l latencies) percentile(p int) time.Duration {
	if len(l) == 0 {
		return 0
	}
	slices.Sort(l)
	return l[(len(l)*p+99)/100-1]
}
