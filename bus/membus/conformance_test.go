package membus_test

import (
	"testing"

	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/drivertest"
	"github.com/messagebus-go/messagebus/bus/membus"
)

func harness() drivertest.Harness {
	return drivertest.Harness{Open: func(tb testing.TB) drivertest.Store {
		b, err := membus.New(nil)
		if err != nil {
			tb.Fatal(err)
		}
		return drivertest.Store{
			Dial:      func(testing.TB) driver.Backend { return b.Dial() },
			Interrupt: func(testing.TB) { b.Faults().CutFeeds(errTest) },
			Wipe:      func(testing.TB) { b.Faults().Reset() },
		}
	}}
}

func TestConformance(t *testing.T) { drivertest.Run(t, harness()) }

func Benchmark(b *testing.B) { drivertest.Bench(b, harness()) }
