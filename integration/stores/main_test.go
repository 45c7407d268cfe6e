package stores_test

import (
	"testing"

	"github.com/messagebus-go/messagebus/bus/leakcheck"
	"github.com/messagebus-go/messagebus/integration/stores"
)

func TestMain(m *testing.M) { leakcheck.Main(m, stores.Close) }
