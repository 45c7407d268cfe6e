package gettingstarted_test

import (
	"testing"

	"github.com/messagebus-go/messagebus/bus/leakcheck"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }
