package audit_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"evcharging/adapters/memory"
	"evcharging/application/audit"
	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
	"evcharging/domain"
	"evcharging/domain/session"
)

func TestWhatCanBeArchived(t *testing.T) {
	at := func(month time.Month, day int) domain.UnixMillis {
		return domain.At(time.Date(2026, month, day, 12, 0, 0, 0, time.UTC))
	}
	b := eventlogtest.NewBuilder("ev.supply.done")
	log := memory.NewLog()
	add := func(when domain.UnixMillis, cause eventlog.Cause, drafts ...eventlogtest.Draft) {
		c := b.Commit(cause, drafts...)
		c.At = when
		if err := log.Append(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	// session adds one of some samples that is closed at an instant; 0: never.
	add(at(time.May, 1), b.Cause(), eventlogtest.Lifecycle("point-1", "1"))
	sampled := func(name eventlog.Stream, samples int, begun, closed domain.UnixMillis) {
		add(begun, b.Cause(), eventlogtest.Lifecycle("point-1", "1"), eventlogtest.Lifecycle(name, "1"))
		for range samples {
			add(begun, eventlog.Cause{}, eventlogtest.Sample(name, "1"))
		}
		if closed != 0 {
			add(closed, b.Cause(), eventlogtest.Closing(name, "1"))
		}
	}
	sampled("session-june", 3, at(time.June, 1), at(time.June, 2))
	sampled("session-june-to-july", 3, at(time.June, 30), at(time.July, 1))
	sampled("session-august", 3, at(time.August, 1), at(time.August, 2))
	sampled("session-open", 3, at(time.June, 1), 0)
	sampled("session-one-sample", 1, at(time.June, 1), at(time.June, 2))
	sampled("session-no-sample", 0, at(time.June, 1), at(time.June, 2))
	sampled("session-revised-soon", 3, at(time.June, 1), at(time.June, 2))
	add(at(time.July, 20), b.Cause(), eventlogtest.Closing("session-revised-soon", "1"))
	sampled("session-revised-late", 3, at(time.June, 1), at(time.June, 2))
	add(at(time.August, 20), b.Cause(), eventlogtest.Closing("session-revised-late", "1"))
	add(at(time.June, 1), b.Cause(), eventlogtest.Lifecycle("session-caused", "1"))
	add(at(time.June, 1), b.Cause(), eventlogtest.Sample("session-caused", "1"))
	add(at(time.June, 1), b.Cause(), eventlogtest.Sample("session-caused", "1"))
	add(at(time.June, 2), b.Cause(), eventlogtest.Closing("session-caused", "1"))

	found := func(before domain.UnixMillis) (all []string) {
		looked := 0
		sessions, _, err := audit.Archivables(t.Context(), log, before, func() { looked++ })
		if err != nil {
			t.Fatal(err)
		}
		for _, stream := range slices.Sorted(maps.Keys(sessions)) {
			s := sessions[stream]
			all = append(all, fmt.Sprintf("%s of %s, but the sample at %d", stream, s.Month, s.Sample))
		}
		return all
	}
	june := []string{"session-june of 2026-06, but the sample at 4"}
	for _, c := range []struct {
		before domain.UnixMillis
		want   []string
	}{
		{at(time.June, 30), nil},
		{domain.At(time.Date(2026, time.July, 1, 0, 0, 0, 0, time.UTC)) - 1, nil},
		{domain.At(time.Date(2026, time.July, 1, 0, 0, 0, 0, time.UTC)), june},
		{at(time.July, 31), append(june, "session-revised-soon of 2026-06, but the sample at 4")},
		{at(time.August, 1), append(june, "session-june-to-july of 2026-07, but the sample at 4", "session-revised-soon of 2026-06, but the sample at 4")},
		{at(time.September, 1), append(june[:0:0], "session-august of 2026-08, but the sample at 4", june[0],
			"session-june-to-july of 2026-07, but the sample at 4", "session-revised-late of 2026-06, but the sample at 4", "session-revised-soon of 2026-06, but the sample at 4")},
	} {
		if got := found(c.before); !slices.Equal(got, c.want) {
			t.Errorf("before %s: %q, want %q", c.before, got, c.want)
		}
	}
}

// archivedIn has the log say that samples of a session are in an archive, as a store does.
func archivedIn(h *history, stream eventlog.Stream, change func(*eventlog.ArchivedError)) {
	var a *eventlog.ArchivedError
	var begins eventlog.Position
	last, _ := find[session.MeterValueRecorded](h, stream, 2)
	for i, c := range h.commits {
		p := c.Parts[0]
		if len(c.Parts) > 1 || p.Stream != stream || p.Kind != eventlog.Sample || i >= last {
			continue
		}
		if a == nil {
			a = &eventlog.ArchivedError{Stream: stream, From: p.Version, Prev: p.Prev, Archive: "2026-08.jsonl.gz"}
			begins = eventlog.Position(i + 1)
		}
		a.To, a.Hash = p.Last(), p.Hash
	}
	change(a)
	h.unreadable[begins] = &eventlog.DamagedError{Where: "1.seg", Position: begins, Stream: stream, Reason: a}
}

// Of what is in an archive the log says where it joins; all that is left is verified as before.
func TestAnArchivedLogIsVerifiedByWhatIsLeft(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*eventlog.ArchivedError)
		want   error
	}{
		"as it is":            {func(*eventlog.ArchivedError) {}, nil},
		"it begins elsewhere": {func(a *eventlog.ArchivedError) { a.Prev[0] ^= 1 }, audit.ErrChain},
		"it ends elsewhere":   {func(a *eventlog.ArchivedError) { a.Hash[0] ^= 1 }, audit.ErrChain},
		"it begins late":      {func(a *eventlog.ArchivedError) { a.From++ }, audit.ErrMissing},
		"it begins early":     {func(a *eventlog.ArchivedError) { a.From-- }, audit.ErrRepeated},
		"it ends early":       {func(a *eventlog.ArchivedError) { a.To--; a.Hash[0] ^= 1 }, audit.ErrMissing},
		"gone":                {func(a *eventlog.ArchivedError) { a.Missing = audit.ErrNothing }, audit.ErrArchive},
		"of no session":       {func(a *eventlog.ArchivedError) { a.Stream = "session-none" }, audit.ErrMissing},
	} {
		t.Run(name, func(t *testing.T) {
			h, supplies := everyEnding(t)
			whole, _ := verified(t, h)
			stream := eventlog.Stream("session-" + string(supplies["finished"].Session))
			archivedIn(h, stream, c.change)
			got, findings := verified(t, h)
			if c.want == nil {
				if len(findings) > 0 || got.Archived != 1 || got.Events != whole.Events-1 || got.Tickets != whole.Tickets || got.Unchecked != 0 {
					t.Errorf("%+v, %v", got, findings)
				}
				return
			}
			if name == "gone" && (got.Missing != 1 || got.Archived != 0 || len(findings) != 1 || got.Tickets != whole.Tickets) {
				t.Errorf("%+v, %v", got, findings)
			}
			if !slices.ContainsFunc(findings, func(f audit.Finding) bool { return errors.Is(f.Reason, c.want) }) {
				t.Errorf("it finds %v, want %v", findings, c.want)
			}
		})
	}
}
