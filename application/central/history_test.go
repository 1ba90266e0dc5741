package central_test

import (
	"fmt"
	"iter"
	"reflect"
	"slices"
	"testing"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/memory"
	"evcharging/application/audit"
	"evcharging/application/audit/audittest"
	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// lived is a history of so many events in memory.
func lived(t *testing.T, seed uint64, events int) (*audittest.History, eventlog.Log) {
	t.Helper()
	log := memory.NewLog()
	points := make([]domain.PointID, 20)
	for i := range points {
		points[i] = domain.PointID(fmt.Sprint("CP-", i+1))
	}
	h := audittest.NewHistory(t, log, eventjson.Codec{}, seed, points...)
	h.Run(events)
	return h, log
}

// A history that made less than everything would prove less than it seems to.
func TestAHistoryHasEverything(t *testing.T) {
	h, log := lived(t, 2, 30_000)
	if _, err := audit.Verify(t.Context(), log, h.Central.Codec, func(f audit.Finding) { t.Error(f) }, nil); err != nil {
		t.Error(err)
	}
	happened := map[string]int{}
	ignored := func(i session.Ignored) {
		happened["ignored before the close: not newer"] += i.NotNewer
		happened["ignored before the close: runs backwards"] += i.RunsBackwards
	}
	for e := range events(t, log) {
		happened[fmt.Sprintf("%T", e)]++
		switch e := e.(type) {
		case session.SupplyRefused:
			happened["refused as "+e.Reason]++
			if e.Silent {
				happened["refused silently"]++
			}
		case session.EndDecided:
			happened["ended by "+string(e.Cause)]++
			ignored(e.Ignored)
		case session.SupplyEnded:
			ignored(e.Ignored)
		case session.TicketIssued:
			happened["ticket for "+e.Reason]++
		case session.TicketRevised:
			happened["a revision "+fmt.Sprint(min(e.Revision, 2))]++
		case session.SupplyAuthorized:
			happened["origin "+e.Origin]++
		case chargingpoint.PriceSet:
			happened[fmt.Sprint("price set ahead of time: ", e.From != 0)]++
		case chargingpoint.PriceHandedBack:
			happened[fmt.Sprint("price handed back ahead of time: ", e.From != 0)]++
		}
	}
	want := []string{
		"refused silently", "ignored before the close: not newer", "ignored before the close: runs backwards", "a revision 1", "a revision 2",
		"price set ahead of time: true", "price set ahead of time: false", "price handed back ahead of time: true", "price handed back ahead of time: false",
	}
	for _, e := range everyEvent {
		want = append(want, fmt.Sprintf("%T", e))
	}
	for _, why := range []chargingpoint.Refusal{
		chargingpoint.RefusedExpired, chargingpoint.RefusedUnknown, chargingpoint.RefusedDisconnected,
		chargingpoint.RefusedBroken, chargingpoint.RefusedOutOfOrder, chargingpoint.RefusedOccupied,
	} {
		want = append(want, "refused as "+string(why))
	}
	for _, cause := range []session.Cause{session.CauseFault, session.CauseDisconnected, session.CauseStopped, session.CauseExpired} {
		want = append(want, "ended by "+string(cause), "ticket for "+string(cause))
	}
	for _, reason := range []message.DoneReason{message.DoneFinished, message.DoneUnplugged, message.DoneRecovered, message.DoneRefused} {
		want = append(want, "ticket for "+string(reason))
	}
	for _, origin := range []message.Origin{message.OriginDriver, message.OriginPoint, message.OriginOperator} {
		want = append(want, "origin "+string(origin))
	}
	for _, what := range want {
		if happened[what] == 0 {
			t.Errorf("it has no %s", what)
		}
	}
	// Looked at in the midst of a turn whose record does something else, and never counted; and
	// what has no id does not come so far.
	elsewhere := []error{session.ErrAlreadyEnding, chargingpoint.ErrNotOccupiedBy, chargingpoint.ErrStopRecent, domain.ErrID}
	ignores, refuses := central.Rules()
	for _, rule := range append(ignores, refuses...) {
		if h.Ignored[rule]+h.Refused[rule] == 0 && !slices.Contains(elsewhere, rule) {
			t.Errorf("nothing was ignored or refused since %v", rule)
		}
	}
	if len(h.Deaths) != 4 {
		t.Errorf("Central was killed at %v", h.Deaths)
	}
}

// events are those of a log.
func events(t *testing.T, log eventlog.Log) iter.Seq[any] {
	return func(yield func(any) bool) {
		for c, err := range log.All(t.Context(), 1) {
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range c.Parts {
				for _, e := range decodeAll(t, p) {
					if !yield(e) {
						return
					}
				}
			}
		}
	}
}

func TestAHistoryIsThatOfItsSeed(t *testing.T) {
	h, log := lived(t, 7, 5_000)
	readLedger(t, log).checkReplay(h.Central)
	_, again := lived(t, 7, 5_000)
	_, other := lived(t, 8, 5_000)
	all := func(l eventlog.Log) (commits []eventlog.Commit) {
		for c, err := range l.All(t.Context(), 1) {
			if err != nil {
				t.Fatal(err)
			}
			commits = append(commits, c.Commit)
		}
		return commits
	}
	if !reflect.DeepEqual(all(log), all(again)) {
		t.Error("the same seed gives another log")
	}
	if reflect.DeepEqual(all(log), all(other)) {
		t.Error("another seed gives the same log")
	}
}
