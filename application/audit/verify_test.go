package audit_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/memory"
	"evcharging/application/audit"
	"evcharging/application/audit/audittest"
	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/domain"
	"evcharging/domain/session"
)

// history is a log that a test may write to as nobody should: commits in the order of their
// positions.
type history struct {
	testing.TB
	commits []eventlog.Commit
	// unreadable are the positions that the store can't read.
	unreadable map[eventlog.Position]*eventlog.DamagedError
}

func (h *history) All(_ context.Context, from eventlog.Position) iter.Seq2[eventlog.Positioned, error] {
	return func(yield func(eventlog.Positioned, error) bool) {
		for i, c := range h.commits {
			at := eventlog.Position(i + 1)
			if at < from {
				continue
			}
			if d := h.unreadable[at]; d != nil {
				yield(eventlog.Positioned{}, d)
				return
			}
			if !yield(eventlog.Positioned{Position: at, Commit: c}, nil) {
				return
			}
		}
	}
}

func (h *history) Read(_ context.Context, stream eventlog.Stream, from eventlog.Version) iter.Seq2[eventlog.Commit, error] {
	return func(yield func(eventlog.Commit, error) bool) {
		for i, c := range h.commits {
			for _, p := range c.Parts {
				if p.Stream != stream || p.Last() < from {
					continue
				}
				if d := h.unreadable[eventlog.Position(i+1)]; d != nil {
					yield(eventlog.Commit{}, d)
					return
				}
				c.Parts = []eventlog.Part{p}
				if !yield(c, nil) {
					return
				}
			}
		}
	}
}

// everyEnding is a network with supplies of every ending.
func everyEnding(t testing.TB) (*history, map[string]audittest.Supply) {
	log := memory.NewLog()
	supplies := map[string]audittest.Supply{}
	for _, s := range audittest.Endings(audittest.New(t, log, eventjson.Codec{})) {
		supplies[s.Name] = s
	}
	return copyOf(t, log), supplies
}

func copyOf(t testing.TB, log eventlog.Log) *history {
	h := &history{TB: t, unreadable: map[eventlog.Position]*eventlog.DamagedError{}}
	for c, err := range log.All(t.Context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		h.commits = append(h.commits, c.Commit)
	}
	return h
}

// find is the commit and the part that hold the nth event of a type in a stream, from 0.
func find[E any](h *history, stream eventlog.Stream, nth int) (commit, part int) {
	h.Helper()
	for i, c := range h.commits {
		for j, p := range c.Parts {
			for _, e := range h.decode(p).Events {
				if _, ok := e.(E); ok && p.Stream == stream {
					if nth == 0 {
						return i, j
					}
					nth--
				}
			}
		}
	}
	var e E
	h.Fatalf("%s has no %T", stream, e)
	return 0, 0
}

func (h *history) decode(p eventlog.Part) central.Envelope {
	h.Helper()
	envelope, err := eventjson.Codec{}.Decode(p.Body)
	if err != nil {
		h.Fatal(err)
	}
	return envelope
}

// change changes the part that has the first event of a type, and its hash with it. What
// follows in the stream is left as it is.
func change[E any](h *history, stream eventlog.Stream, to func(*E)) {
	h.Helper()
	i, j := find[E](h, stream, 0)
	h.rewrite(i, j, func(envelope *central.Envelope) {
		for k, e := range envelope.Events {
			if event, ok := e.(E); ok {
				to(&event)
				envelope.Events[k] = event
				return
			}
		}
	})
}

func (h *history) rewrite(commit, part int, to func(*central.Envelope)) {
	h.Helper()
	envelope := h.decode(h.commits[commit].Parts[part])
	to(&envelope)
	body, err := eventjson.Codec{}.Encode(envelope)
	if err != nil {
		h.Fatal(err)
	}
	h.part(commit, part, func(p *eventlog.Part) { p.Body = body })
}

// part changes a part, and its hash with it.
func (h *history) part(commit, part int, to func(*eventlog.Part)) {
	parts := slices.Clone(h.commits[commit].Parts)
	to(&parts[part])
	parts[part].Hash = parts[part].Sum()
	h.commits[commit].Parts = parts
}

// chain makes a stream's chain anew, as somebody would who hides a change.
func (h *history) chain(stream eventlog.Stream) {
	var last eventlog.Hash
	for i, c := range h.commits {
		for j, p := range c.Parts {
			if p.Stream == stream {
				h.part(i, j, func(p *eventlog.Part) { p.Prev = last })
				last = h.commits[i].Parts[j].Hash
			}
		}
	}
}

func verified(t testing.TB, log audit.Log) (audit.Verified, []audit.Finding) {
	t.Helper()
	var findings []audit.Finding
	v, err := audit.Verify(t.Context(), log, eventjson.Codec{}, func(f audit.Finding) { findings = append(findings, f) }, nil)
	if err != nil {
		t.Fatal(err)
	}
	if v.Findings != len(findings) {
		t.Errorf("it has told %d findings, and counts %d", len(findings), v.Findings)
	}
	return v, findings
}

func TestAWholeLogHasNoFindings(t *testing.T) {
	h, supplies := everyEnding(t)
	v, findings := verified(t, h)
	for _, f := range findings {
		t.Error(f)
	}
	var events, tickets uint64
	streams := map[eventlog.Stream]bool{}
	for _, c := range h.commits {
		for _, p := range c.Parts {
			events += uint64(p.Events)
			streams[p.Stream] = true
		}
	}
	for _, s := range supplies {
		if s.Status == session.Closed {
			tickets += uint64(1 + s.Revisions)
		}
	}
	want := audit.Verified{Commits: uint64(len(h.commits)), Events: events, Streams: uint64(len(streams)), Tickets: tickets}
	if fmt.Sprint(v) != fmt.Sprint(want) {
		t.Errorf("it has looked at %+v, want %+v", v, want)
	}
}

func TestEachStreamCanBeVerifiedAlone(t *testing.T) {
	h, _ := everyEnding(t)
	for _, c := range h.commits {
		for _, p := range c.Parts {
			for _, from := range []eventlog.Version{1, p.Version, p.Last()} {
				v, err := audit.VerifyStream(t.Context(), h, eventjson.Codec{}, p.Stream, from, p.Version, func(f audit.Finding) { t.Error(f) })
				if err != nil || v.Commits == 0 || from == p.Version && v.Commits != 1 {
					t.Fatalf("%s from %d to %d: %+v, %v", p.Stream, from, p.Version, v, err)
				}
			}
		}
	}
}

func TestWhatIsWrongIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		of      string // the supply
		damage  func(h *history, stream eventlog.Stream)
		want    []error
		says    string
		ofPoint bool // the findings are about another stream
	}{
		"a byte is changed": {"finished", func(h *history, stream eventlog.Stream) {
			i, j := find[session.MeterValueRecorded](h, stream, 1)
			p := &h.commits[i].Parts[j]
			p.Body = slices.Clone(p.Body)
			p.Body[len(p.Body)-5] ^= 1
		}, []error{audit.ErrHash}, "", false},
		"a figure is changed, and the part's hash": {"finished", func(h *history, stream eventlog.Stream) {
			change(h, stream, func(e *session.SupplyAuthorized) { e.Order++ })
		}, []error{audit.ErrChain}, "", false},
		"a part is taken out": {"finished", func(h *history, stream eventlog.Stream) {
			i, _ := find[session.MeterValueRecorded](h, stream, 1)
			h.commits = slices.Delete(h.commits, i, i+1)
		}, []error{audit.ErrMissing}, "versions 4 to 4", false},
		"a part comes twice": {"finished", func(h *history, stream eventlog.Stream) {
			i, _ := find[session.MeterValueRecorded](h, stream, 1)
			h.commits = slices.Insert(h.commits, i+1, h.commits[i])
		}, []error{audit.ErrRepeated}, "", false},
		"parts are swapped": {"finished", func(h *history, stream eventlog.Stream) {
			i, _ := find[session.MeterValueRecorded](h, stream, 1)
			h.commits[i], h.commits[i+1] = h.commits[i+1], h.commits[i]
		}, []error{audit.ErrMissing, audit.ErrRepeated}, "", false},
		"the text is no event": {"finished", func(h *history, stream eventlog.Stream) {
			i, j := find[session.SupplyEnded](h, stream, 0)
			h.part(i, j, func(p *eventlog.Part) {
				p.Body = []byte(strings.Replace(string(p.Body), "SupplyEnded", "SupplyMended", 1))
			})
		}, []error{audit.ErrUnreadable}, "SupplyMended", false},
		"an event of another aggregate": {"running", func(h *history, stream eventlog.Stream) {
			i, j := find[session.MeterValueRecorded](h, stream, 0)
			other := h.decode(h.commits[0].Parts[0]).Events
			h.rewrite(i, j, func(e *central.Envelope) { e.Events = []any{other[0], other[0]} })
			h.commits[i].Parts[j].Kind = eventlog.Lifecycle
		}, []error{audit.ErrUnreadable}, "PointRegistered", false},
		"a stream of nobody": {"finished", func(h *history, stream eventlog.Stream) {
			i, j := find[session.SupplyAuthorized](h, stream, 0)
			h.part(i, j, func(p *eventlog.Part) { p.Stream = "nobody" })
		}, []error{audit.ErrUnreadable, audit.ErrMissing}, "neither", true},
		"another commit's id": {"finished", func(h *history, stream eventlog.Stream) {
			i, _ := find[session.SupplyEnded](h, stream, 0)
			h.commits[i].ID = uuid.UUID{1}
		}, []error{audit.ErrCommit, audit.ErrCommit}, "its text is that of commit", true},
		"another time": {"finished", func(h *history, stream eventlog.Stream) {
			i, _ := find[session.MeterValueRecorded](h, stream, 2)
			h.commits[i].At += 5
		}, []error{audit.ErrCommit}, "its text is of", false},
		"another cause": {"finished", func(h *history, stream eventlog.Stream) {
			i, _ := find[session.SupplyEnded](h, stream, 0)
			h.commits[i].Cause.Offset++
		}, []error{audit.ErrCommit, audit.ErrCommit}, "names the cause", true},
		"another number of events": {"finished", func(h *history, stream eventlog.Stream) {
			i, j := find[session.TicketIssued](h, stream, 0)
			h.commits[i].Parts[j].Events++
		}, []error{audit.ErrCommit}, "has 2 events, not 3", false},
		"another kind": {"finished", func(h *history, stream eventlog.Stream) {
			i, j := find[session.TicketIssued](h, stream, 0)
			h.commits[i].Parts[j].Kind = eventlog.Sample
		}, []error{audit.ErrCommit}, "another kind", false},
		"an earlier time": {"finished", func(h *history, stream eventlog.Stream) {
			i, j := find[session.MeterValueRecorded](h, stream, 2)
			h.commits[i].At -= 60_000
			h.rewrite(i, j, func(e *central.Envelope) { e.At -= 60_000 })
			h.chain(stream)
		}, []error{audit.ErrCommit}, "the part before it of", false},
		"a stream twice in a commit": {"finished", func(h *history, stream eventlog.Stream) {
			i, j := find[session.MeterValueRecorded](h, stream, 2)
			h.commits[i].Parts = append(slices.Clone(h.commits[i].Parts), h.commits[i].Parts[j])
		}, []error{audit.ErrCommit, audit.ErrRepeated}, "", false},
		"an empty commit": {"finished", func(h *history, _ eventlog.Stream) {
			h.commits = append(h.commits, eventlog.Commit{ID: uuid.UUID{1}})
		}, []error{audit.ErrCommit}, "no parts", true},
		"what the store can't read": {"finished", func(h *history, stream eventlog.Stream) {
			i, _ := find[session.MeterValueRecorded](h, stream, 1)
			h.unreadable[eventlog.Position(i+1)] = &eventlog.DamagedError{Where: "00001.seg", Position: eventlog.Position(i + 1), Stream: stream, Reason: errors.New("a bit was flipped")}
		}, []error{eventlog.ErrDamaged, audit.ErrMissing}, "00001.seg", false},
		"a file that the store can't read": {"running", func(h *history, stream eventlog.Stream) {
			i, _ := find[session.MeterValueRecorded](h, stream, 0)
			for at := eventlog.Position(i + 1); int(at) <= len(h.commits); at++ {
				h.unreadable[at] = &eventlog.DamagedError{Where: "00001.seg", Position: at, Reason: errors.New("its pages make no sense")}
			}
		}, []error{eventlog.ErrDamaged}, "positions", true},

		"a bill's amount, hashed again": {
			"finished", ticket(func(e *session.TicketIssued) { e.Amount += 10_000 }),
			[]error{audit.ErrTicket},
			"amount is 0.115 EUR, and 0.105 EUR follows", false,
		},
		"a bill's energy and amount": {
			"finished", ticket(func(e *session.TicketIssued) { e.Energy, e.Amount = 400_000, 120_000 }),
			[]error{audit.ErrTicket},
			"energy is 0.4 kWh, and 0.35 kWh follows; amount is 0.12 EUR, and 0.105 EUR follows", false,
		},
		"a bill's price": {
			"finished", ticket(func(e *session.TicketIssued) { e.Price = 310_000 }),
			[]error{audit.ErrTicket},
			"price is 0.31 EUR/kWh, and 0.3 EUR/kWh follows", false,
		},
		"a bill's reason": {
			"disconnected, and reported all the same", ticket(func(e *session.TicketIssued) { e.Reason = "FINISHED" }),
			[]error{audit.ErrTicket},
			"reason is FINISHED, and DISCONNECTED follows", false,
		},
		"a bill's times": {
			"finished", ticket(func(e *session.TicketIssued) { e.StartedAt++; e.EndedAt-- }),
			[]error{audit.ErrTicket},
			"started at", false,
		},
		"a bill's id": {
			"finished", ticket(func(e *session.TicketIssued) { e.Ticket = "T-1" }),
			[]error{audit.ErrTicket},
			"ticket is T-1", false,
		},
		"what was reported": {
			"finished", hidden(func(e *session.SupplyEnded) { e.EnergyReported -= 10_000 }),
			[]error{audit.ErrTicket},
			"energy is 0.35 kWh, and 0.34 kWh follows", false,
		},
		"what was measured": {"late samples, lost ones, a final report of less", func(h *history, stream eventlog.Stream) {
			i, j := find[session.MeterValueRecorded](h, stream, 3)
			h.rewrite(i, j, func(e *central.Envelope) {
				sample := e.Events[0].(session.MeterValueRecorded)
				sample.Measured = 900_000
				e.Events[0] = sample
			})
			h.chain(stream)
		}, []error{audit.ErrTicket}, "energy is 0.7 kWh, and 0.9 kWh follows", false},
		"the price of the grant": {
			"finished", hidden(func(e *session.SupplyAuthorized) { e.Price = 200_000 }),
			[]error{audit.ErrTicket},
			"price is 0.3 EUR/kWh, and 0.2 EUR/kWh follows; amount is 0.105 EUR, and 0.07 EUR follows", false,
		},
		"a bill of what expired": {
			"never taken up", ticket(func(e *session.TicketIssued) { e.Energy, e.Amount = 1_000_000, 300_000 }),
			[]error{audit.ErrTicket},
			"energy is 1 kWh, and 0 kWh follows", false,
		},
		"a bill that came before its deadline": {
			"silent, billed on the last report", hidden(func(e *session.EndDecided) { e.Due += 600_000 }),
			[]error{audit.ErrTicket},
			"neither a final report nor a deadline", false,
		},
		"a bill that nothing asks for": {"running", func(h *history, stream eventlog.Stream) {
			i, j := find[session.MeterValueRecorded](h, stream, 0)
			h.rewrite(i, j, func(e *central.Envelope) {
				e.Events = append(e.Events, session.TicketIssued{Ticket: "T-1", Energy: 1, Price: 300_000, Reason: "FINISHED"})
			})
			h.part(i, j, func(p *eventlog.Part) { p.Events, p.Kind = 3, eventlog.Closing })
		}, []error{audit.ErrTicket}, "neither a final report nor a deadline", false},
		"a final report without a bill": {"finished", func(h *history, stream eventlog.Stream) {
			i, j := find[session.TicketIssued](h, stream, 0)
			h.rewrite(i, j, func(e *central.Envelope) { e.Events = e.Events[:1] })
			h.part(i, j, func(p *eventlog.Part) { p.Events, p.Kind = 1, eventlog.Lifecycle })
		}, []error{audit.ErrTicket}, "there is none where a ticket of", false},
		"a revision's amount": {
			"revised twice", hidden(func(e *session.TicketRevised) { e.AmountAfter++; e.AmountDifference++ }),
			[]error{audit.ErrTicket, audit.ErrTicket},
			"amount after is 2.400001 EUR, and 2.4 EUR follows", false,
		},
		"a revision of less": {"revised twice", hidden(func(e *session.TicketRevised) {
			e.EnergyAfter, e.AmountAfter, e.AmountDifference = 6_000_000, 1_800_000, -300_000
		}), []error{audit.ErrTicket, audit.ErrTicket}, "no more than was billed", false},
		"a revision of no ticket": {"running", func(h *history, stream eventlog.Stream) {
			i, j := find[session.MeterValueRecorded](h, stream, 0)
			h.rewrite(i, j, func(e *central.Envelope) { e.Events = append(e.Events, session.TicketRevised{Revision: 1}) })
			h.part(i, j, func(p *eventlog.Part) { p.Events, p.Kind = 3, eventlog.Closing })
		}, []error{audit.ErrTicket, audit.ErrUnreadable}, "it revises none", false},
	} {
		t.Run(name, func(t *testing.T) {
			h, supplies := everyEnding(t)
			stream := central.SessionStream(supplies[c.of].Session)
			c.damage(h, stream)
			v, findings := verified(t, h)
			var got []string
			for i, f := range findings {
				got = append(got, f.String())
				if i < len(c.want) && !errors.Is(f.Reason, c.want[i]) {
					t.Errorf("finding %d: %s; want %q", i, f, c.want[i])
				}
				if !c.ofPoint && f.Stream != stream {
					t.Errorf("finding %d is about %q: %s", i, f.Stream, f)
				}
			}
			if len(findings) != len(c.want) || !strings.Contains(strings.Join(got, "\n"), c.says) {
				t.Errorf("found\n%s\nwant %q, and something that says %q", strings.Join(got, "\n"), c.want, c.says)
			}
			if !c.ofPoint && !slices.Equal(v.Concerned, []eventlog.Stream{stream}) {
				t.Errorf("concerned are %q", v.Concerned)
			}
		})
	}
}

// ticket changes a bill and makes the chain anew.
func ticket(to func(*session.TicketIssued)) func(*history, eventlog.Stream) { return hidden(to) }

// hidden changes an event and makes the chain anew.
func hidden[E any](to func(*E)) func(*history, eventlog.Stream) {
	return func(h *history, stream eventlog.Stream) {
		change(h, stream, to)
		h.chain(stream)
	}
}

func TestWhatCannotBeComputedAnewIsCounted(t *testing.T) {
	h, supplies := everyEnding(t)
	stream := central.SessionStream(supplies["revised twice"].Session)
	i, _ := find[session.MeterValueRecorded](h, stream, 0)
	h.commits = slices.Delete(h.commits, i, i+1)
	if v, findings := verified(t, h); v.Unchecked != 3 || len(findings) != 1 {
		t.Errorf("%d tickets are said not to be checked, found %v", v.Unchecked, findings)
	}
}

// A session that closed long ago is forgotten, and known again where it goes on.
func TestAStreamThatWasForgottenIsReadAgain(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(h *history, late eventlog.Commit)
		want   error
	}{
		"a revision": {func(*history, eventlog.Commit) {}, nil},
		"a revision of other money": {func(h *history, late eventlog.Commit) {
			h.rewrite(len(h.commits)-1, 0, func(e *central.Envelope) {
				revised := e.Events[0].(session.TicketRevised)
				revised.AmountAfter++
				e.Events[0] = revised
			})
		}, audit.ErrTicket},
		"the session once more": {func(h *history, _ eventlog.Commit) {
			for _, c := range h.commits {
				if c.Parts[0].Version == 1 && strings.HasPrefix(string(c.Parts[len(c.Parts)-1].Stream), "session-") {
					c.Parts = c.Parts[len(c.Parts)-1:]
					h.commits = append(h.commits, c)
					return
				}
			}
		}, audit.ErrRepeated},
	} {
		t.Run(name, func(t *testing.T) {
			h, supplies := everyEnding(t)
			stream := central.SessionStream(supplies["revised twice"].Session)
			i, _ := find[session.TicketRevised](h, stream, 1)
			late := h.commits[i]
			h.commits = slices.Delete(h.commits, i, i+1)
			at := h.commits[len(h.commits)-1].At
			for n := range 3_000 {
				h.commits = append(h.commits, refused(t, n, at))
			}
			h.commits = append(h.commits, late)
			c.damage(h, late)
			_, findings := verified(t, h)
			if c.want == nil && len(findings) > 0 || c.want != nil && (len(findings) != 1 || !errors.Is(findings[0].Reason, c.want)) {
				t.Errorf("found %v, want %v", findings, c.want)
			}
		})
	}
}

// refused is a request that was refused: a session that is closed at once.
func refused(t testing.TB, n int, at domain.UnixMillis) eventlog.Commit {
	t.Helper()
	c := eventlog.Commit{ID: uuid.UUID{byte(n >> 8), byte(n), 1}, At: at}
	body, err := eventjson.Codec{}.Encode(central.Envelope{
		Commit: c.ID, At: at, Events: []any{session.SupplyRefused{Point: "CP-1", Driver: "D-1", Origin: "driver", Reason: "BROKEN"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := eventlog.Part{Stream: eventlog.Stream(fmt.Sprintf("session-refused-%d", n)), Version: 1, Events: 1, Kind: eventlog.Closing, Body: body}
	p.Hash = p.Sum()
	c.Parts = []eventlog.Part{p}
	return c
}

func TestTheAuditsErrorIsTheLogs(t *testing.T) {
	gone := errors.New("the disk is gone")
	log := broken{gone}
	if _, err := audit.Verify(t.Context(), log, eventjson.Codec{}, func(f audit.Finding) { t.Error(f) }, nil); !errors.Is(err, gone) {
		t.Errorf("the audit says %v", err)
	}
	if _, err := audit.VerifyStream(t.Context(), log, eventjson.Codec{}, "point-CP-1", 1, 0, func(f audit.Finding) { t.Error(f) }); !errors.Is(err, gone) {
		t.Errorf("the audit of a stream says %v", err)
	}
}

type broken struct{ err error }

func (b broken) All(context.Context, eventlog.Position) iter.Seq2[eventlog.Positioned, error] {
	return func(yield func(eventlog.Positioned, error) bool) { yield(eventlog.Positioned{}, b.err) }
}

func (b broken) Read(context.Context, eventlog.Stream, eventlog.Version) iter.Seq2[eventlog.Commit, error] {
	return func(yield func(eventlog.Commit, error) bool) { yield(eventlog.Commit{}, b.err) }
}
