package packaging_test

import (
	"testing"

	"github.com/messagebus-go/messagebus/bus/leakcheck"
	"github.com/messagebus-go/messagebus/integration/command"
)

func TestMain(m *testing.M) { leakcheck.Main(m, command.Remove) }
