package eventlog_test

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"testing"

	"evcharging/application/eventlog"
)

// The chain's hashes stand in logs, in exports and on tickets: they never change.
func TestSumIsTheGoldenOne(t *testing.T) {
	first := eventlog.Part{Stream: "point-CP-001", Version: 1, Events: 1, Kind: eventlog.Lifecycle, Body: []byte(`[{"type":"PointRegistered"}]`)}
	first.Hash = first.Sum()
	second := eventlog.Part{Stream: "point-CP-001", Version: 2, Events: 2, Kind: eventlog.Sample, Prev: first.Hash, Body: []byte(`[1,2]`)}
	for _, c := range []struct {
		part eventlog.Part
		want string
	}{
		{first, "e67a033e8af4b00241e7bcd8149dd9f1d2e5213189c57ae872e780e661d823c5"},
		{second, "c8aab9b89aee755b8efc65e9226d429fdc191ee81d88b109e37b5cfc75aaff2a"},
	} {
		sum := c.part.Sum()
		if got := hex.EncodeToString(sum[:]); got != c.want {
			t.Errorf("version %d: %s, want %s", c.part.Version, got, c.want)
		}
	}
}

// Kind and Events are no part of the hash: they say how a store may keep the part.
func TestSumTellsPartsApart(t *testing.T) {
	part := eventlog.Part{Stream: "session-1", Version: 1, Events: 1, Kind: eventlog.Lifecycle, Body: []byte(`x`)}
	for name, other := range map[string]eventlog.Part{
		"prev":    {Stream: "session-1", Version: 1, Prev: eventlog.Hash{1}, Body: []byte(`x`)},
		"stream":  {Stream: "session-2", Version: 1, Body: []byte(`x`)},
		"version": {Stream: "session-1", Version: 2, Body: []byte(`x`)},
		"body":    {Stream: "session-1", Version: 1, Body: []byte(`y`)},
	} {
		if part.Sum() == other.Sum() {
			t.Errorf("another %s has the same hash", name)
		}
	}
	if part.Sum() != (eventlog.Part{Stream: "session-1", Version: 1, Body: []byte(`x`)}).Sum() {
		t.Error("kind or events are part of the hash")
	}
}

func TestErrorsSayInOneSentenceWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&eventlog.ConflictError{Stream: "s", Expected: 1, Actual: 3}, "stream s is at version 3, not 1: somebody else wrote to it"},
		{&eventlog.ConflictError{Stream: "s", Expected: 3, Actual: 3}, "stream s is at version 3 with another last part: somebody else wrote to it"},
		{&eventlog.DamagedError{Where: "1.seg", Position: 7, Stream: "s", Reason: fs.ErrInvalid}, "the event log is damaged in 1.seg at position 7, stream s: invalid argument"},
		{&eventlog.DamagedError{Where: "1.seg", Reason: fs.ErrInvalid}, "the event log is damaged in 1.seg: invalid argument"},
		{eventlog.Commit{}.Check(), "malformed commit: it has no id or no parts"},
	} {
		if c.err.Error() != c.want {
			t.Errorf("%q, want %q", c.err, c.want)
		}
	}
	damage := error(&eventlog.DamagedError{Where: "1.seg", Reason: fs.ErrInvalid})
	if !errors.Is(damage, eventlog.ErrDamaged) || !errors.Is(damage, fs.ErrInvalid) || errors.Is(damage, eventlog.ErrClosed) {
		t.Error("a DamagedError is ErrDamaged and its reason, and nothing else")
	}
}
