package modelstore_test

import (
	"testing"

	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/drivertest"
	"github.com/messagebus-go/messagebus/bus/leakcheck"
	"github.com/messagebus-go/messagebus/integration/modelstore"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// The models are held against what the real stores are held against.

func TestRedis_Conforms(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, drivertest.Harness{Open: func(testing.TB) drivertest.Store {
		store := modelstore.NewRedis(nil)
		return drivertest.Store{
			Dial:      func(testing.TB) driver.Backend { return store.Dial() },
			Interrupt: func(testing.TB) { store.Interrupt() },
			Wipe:      func(testing.TB) { store.Flush() },
		}
	}})
}

func TestPostgres_Conforms(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, drivertest.Harness{
		Open: func(testing.TB) drivertest.Store {
			store := modelstore.NewPostgres(nil)
			return drivertest.Store{
				Dial:      func(testing.TB) driver.Backend { return store.Dial() },
				Interrupt: func(testing.TB) { store.Interrupt() },
				Wipe:      func(testing.TB) { store.Drop() },
			}
		},
		Features: drivertest.Features{InexactLoss: true},
	})
}
