package audit_test

import (
	"errors"
	"strings"
	"testing"

	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/domain/session"
)

func TestWhatRemainsOfADamagedStreamIsSaid(t *testing.T) {
	unreadable := func(h *history, commit int, stream eventlog.Stream) {
		at := eventlog.Position(commit + 1)
		h.unreadable[at] = &eventlog.DamagedError{Where: "00001.seg", Position: at, Stream: stream, Reason: errors.New("a bit was flipped")}
	}
	// the supply's stream is: granted, started and sampled, sampled twice, reported and billed
	for name, c := range map[string]struct {
		damage func(h *history, stream eventlog.Stream)
		want   string // of the session's stream; empty where all of it can be had
	}{
		"nothing is wrong": {func(*history, eventlog.Stream) {}, ""},
		"a commit in the middle can't be read": {func(h *history, stream eventlog.Stream) {
			i, _ := find[session.MeterValueRecorded](h, stream, 1)
			unreadable(h, i, stream)
		}, ": versions 1 to 3 are whole, up to there it is SUPPLYING; versions 5 to 7 can be read, and do not prove what was before them; there is a bill"},
		"the last commit can't be read": {func(h *history, stream eventlog.Stream) {
			i, _ := find[session.TicketIssued](h, stream, 0)
			unreadable(h, i, stream)
		}, ": versions 1 to 5 are whole, up to there it is SUPPLYING; nothing can be read behind that"},
		"the first commit is gone": {func(h *history, stream eventlog.Stream) {
			i, j := find[session.SupplyAuthorized](h, stream, 0)
			h.commits[i].Parts = append(h.commits[i].Parts[:j:j], h.commits[i].Parts[j+1:]...)
		}, ": nothing at its beginning; versions 2 to 7 can be read, and do not prove what was before them; there is a bill"},
		"a part was changed": {func(h *history, stream eventlog.Stream) {
			i, j := find[session.MeterValueRecorded](h, stream, 1)
			h.commits[i].Parts[j].Hash[0] ^= 1
		}, ": versions 1 to 3 are whole, up to there it is SUPPLYING; versions 5 to 7 can be read, and do not prove what was before them; there is a bill"},
		"nothing can be read": {func(h *history, stream eventlog.Stream) {
			for i, c := range h.commits {
				for _, p := range c.Parts {
					if p.Stream == stream {
						unreadable(h, i, stream)
					}
				}
			}
		}, ": nothing at its beginning; nothing can be read behind that"},
		"a bill was changed, and all of it can be read": {ticket(func(e *session.TicketIssued) { e.Amount++ }), ""},
	} {
		t.Run(name, func(t *testing.T) {
			h, supplies := everyEnding(t)
			stream := central.SessionStream(supplies["finished"].Session)
			i, j := find[session.TicketIssued](h, stream, 0)
			billed := "there is ticket " + string(h.decode(h.commits[i].Parts[j]).Events[1].(session.TicketIssued).Ticket) + ": 0.35 kWh, 0.105 EUR, FINISHED"
			c.damage(h, stream)
			v, _ := verified(t, h)
			got := ""
			for _, r := range v.Remains {
				if r.Stream == stream {
					got = r.String()
				}
			}
			want := strings.ReplaceAll(c.want, "there is a bill", billed)
			if want != "" {
				want = string(stream) + want
			}
			if got != want {
				t.Errorf("what remains is\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestWhatRemainsIsSaidOfEachDamagedStreamOnce(t *testing.T) {
	h, _ := everyEnding(t)
	seen := map[eventlog.Stream]int{}
	for i := range h.commits {
		for j := range h.commits[i].Parts {
			h.commits[i].Parts[j].Hash[0] ^= 1
			seen[h.commits[i].Parts[j].Stream] = 0
		}
	}
	v, _ := verified(t, h)
	for _, r := range v.Remains {
		seen[r.Stream]++
		if r.Whole != 0 || len(r.Behind) != 0 {
			t.Errorf("%s, of which all was changed", r)
		}
	}
	for stream, n := range seen {
		if n != 1 {
			t.Errorf("%s is said %d times", stream, n)
		}
	}
}
