package memory_test

import (
	"testing"

	"evcharging/adapters/memory"
	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

func TestLog(t *testing.T) {
	eventlogtest.Run(t, func(*testing.T) eventlog.Log { return memory.NewLog() })
}
