package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/notary"
	"evcharging/application/audit"
	"evcharging/application/audit/audittest"
	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

var network = uuid.MustParse("0190a5d0-7c00-4abc-8def-0123456789ab")

// outside is what is kept outside a log: its checkpoints.
type outside struct {
	testing.TB
	key   *notary.Key
	chain audit.Chain
	// seen is how many commits of the log are covered.
	seen int
	text []byte
}

func newKey(t testing.TB) *notary.Key {
	t.Helper()
	key, err := notary.MakeKey(filepath.Join(t.TempDir(), "signing.key"), network)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// watch makes a checkpoint after each so many commits of a log, and one at its end.
func (o *outside) watch(h *history, each int) {
	o.Helper()
	for ; o.seen < len(h.commits); o.seen++ {
		if o.seen > 0 && o.seen%each == 0 {
			o.sign(h.commits[:o.seen], each)
		}
	}
	o.sign(h.commits, each)
}

// sign makes a checkpoint of a log, whose last so many commits may be newer than the last one.
func (o *outside) sign(commits []eventlog.Commit, last int) {
	o.Helper()
	var changes audit.Changes
	for _, c := range commits[max(0, len(commits)-last):] {
		changes.Take(c)
	}
	at := commits[len(commits)-1].At.Add(time.Second)
	checkpoint, record := o.chain.Next(network, at, changes.Heads())
	var err error
	if record.Note, err = o.key.Sign(checkpoint.Text()); err != nil {
		o.Fatal(err)
	}
	if err := o.chain.Follow(checkpoint, record); err != nil {
		o.Fatal(err)
	}
	o.text = record.Append(o.text, checkpoint.Number)
}

func (o *outside) checkpoints(name string) audit.Checkpoints {
	type read struct {
		record audit.Record
		err    error
	}
	var all []read
	for record, err := range audit.Records(bytes.NewReader(o.text)) {
		all = append(all, read{record, err})
	}
	return audit.Checkpoints{Name: name, Records: func(context.Context) iter.Seq2[audit.Record, error] {
		return func(yield func(audit.Record, error) bool) {
			for _, r := range all {
				if !yield(r.record, r.err) {
					return
				}
			}
		}
	}}
}

func against(t testing.TB, log audit.Log, key *notary.Key, all ...audit.Checkpoints) (audit.Witnessed, []audit.Finding) {
	t.Helper()
	keys, err := notary.ParseKeys(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	var findings []audit.Finding
	_, w, err := audit.VerifyAgainst(t.Context(), log, eventjson.Codec{}, keys, all, func(f audit.Finding) { findings = append(findings, f) }, nil)
	if err != nil {
		t.Fatal(err)
	}
	return w, findings
}

// day is a network's log, with what was kept outside it.
type day struct {
	*history
	*outside
	supplies map[string]audittest.Supply
}

func (d *day) stream(of string) eventlog.Stream { return central.SessionStream(d.supplies[of].Session) }

func newDay(t testing.TB, key *notary.Key) *day {
	h, supplies := everyEnding(t)
	d := &day{h, &outside{TB: t, key: key}, supplies}
	d.watch(h, 5)
	return d
}

// drop takes a stream out of the log.
func (h *history) drop(stream eventlog.Stream) {
	var left []eventlog.Commit
	for _, c := range h.commits {
		c.Parts = slices.DeleteFunc(slices.Clone(c.Parts), func(p eventlog.Part) bool { return p.Stream == stream })
		if len(c.Parts) > 0 {
			left = append(left, c)
		}
	}
	h.commits = left
}

// tableOfAttacks are the attacks that docs/attacks.md tells of.
func tableOfAttacks(t *testing.T) (names []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/attacks.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || strings.HasPrefix(cells[1], "---") || cells[1] == " Attack " {
			continue
		}
		names = append(names, strings.TrimSpace(cells[1]))
	}
	if len(names) < 15 {
		t.Fatalf("the table has %d lines", len(names))
	}
	return names
}

// The table of attacks of docs/attacks.md: each of its lines is one here.
func TestAttacks(t *testing.T) {
	key, other := newKey(t), newKey(t)
	attacks := map[string]struct {
		attack func(t *testing.T, d *day) []audit.Checkpoints
		want   []error // nil: nothing is found
	}{
		"nothing": {func(_ *testing.T, d *day) []audit.Checkpoints { return nil }, nil},
		"an edit": {func(t *testing.T, d *day) []audit.Checkpoints {
			i, j := find[session.TicketIssued](d.history, d.stream("finished"), 0)
			p := &d.commits[i].Parts[j]
			p.Body = bytes.Replace(p.Body, []byte(`"amount":105000`), []byte(`"amount":905000`), 1)
			return nil
		}, []error{audit.ErrHash}},
		"an edit, hashed again": {func(t *testing.T, d *day) []audit.Checkpoints {
			hidden(func(e *session.SupplyRefused) { e.Reason = "BROKEN" })(d.history, d.stream("refused"))
			return nil
		}, []error{audit.ErrRewritten}},
		"a bill and all that it follows from, hashed again": {func(t *testing.T, d *day) []audit.Checkpoints {
			stream := d.stream("finished")
			change(d.history, stream, func(e *session.SupplyEnded) { e.EnergyReported = 1_350_000 })
			change(d.history, stream, func(e *session.TicketIssued) { e.Energy, e.Amount = 1_350_000, 405_000 })
			d.history.chain(stream)
			return nil
		}, []error{audit.ErrRewritten}},
		"a bill that does not follow from its reports, hashed again": {func(t *testing.T, d *day) []audit.Checkpoints {
			hidden(func(e *session.TicketIssued) { e.Amount = 905_000 })(d.history, d.stream("finished"))
			return nil
		}, []error{audit.ErrTicket, audit.ErrRewritten}},
		"a cut tail": {func(t *testing.T, d *day) []audit.Checkpoints {
			stream := d.stream("revised twice")
			i, _ := find[session.TicketRevised](d.history, stream, 1)
			d.commits = slices.Delete(d.commits, i, i+1)
			return nil
		}, []error{audit.ErrCut}},
		"a dropped stream": {func(t *testing.T, d *day) []audit.Checkpoints {
			d.drop(d.stream("finished"))
			return nil
		}, []error{audit.ErrDropped}},
		"everything rewritten and hashed again": {func(t *testing.T, d *day) []audit.Checkpoints {
			for i, c := range d.commits {
				for j, p := range c.Parts {
					d.rewrite(i, j, func(e *central.Envelope) { e.CausedAt++ })
					d.history.chain(p.Stream)
				}
			}
			return nil
		}, slices.Repeat([]error{audit.ErrRewritten}, 31)},
		"the store rolled back to yesterday": {func(t *testing.T, d *day) []audit.Checkpoints {
			d.commits = d.commits[:60]
			return nil
		}, []error{audit.ErrCut, audit.ErrDropped}},
		"an empty log": {func(t *testing.T, d *day) []audit.Checkpoints {
			d.commits = nil
			return nil
		}, slices.Repeat([]error{audit.ErrDropped}, 31)},
		"two logs shown to two auditors": {func(t *testing.T, d *day) []audit.Checkpoints {
			forged := &outside{TB: t, key: key}
			h, _ := everyEnding(t)
			hidden(func(e *session.SupplyRefused) { e.Reason = "BROKEN" })(h, d.stream("refused"))
			forged.watch(h, 5)
			return []audit.Checkpoints{d.checkpoints("the first auditor's"), forged.checkpoints("the second auditor's")}
		}, []error{audit.ErrFork, audit.ErrRewritten}},
		"a session that never was": {func(t *testing.T, d *day) []audit.Checkpoints {
			d.commits = slices.Insert(d.commits, 20, refused(t, 7, d.commits[20].At))
			return nil
		}, []error{audit.ErrInserted}},
		"a report that never was": {func(t *testing.T, d *day) []audit.Checkpoints {
			i, j := find[session.SupplyRefused](d.history, d.stream("refused"), 0)
			extra := d.commits[i]
			p := extra.Parts[j]
			p.Version, p.Prev = p.Last()+1, p.Hash
			p.Hash = p.Sum()
			extra.Parts = []eventlog.Part{p}
			d.commits = slices.Insert(d.commits, i+1, extra)
			d.wait(d.history)
			return nil
		}, []error{audit.ErrInserted}},
		"history rewritten, and signed from then on": {func(t *testing.T, d *day) []audit.Checkpoints {
			stream := central.PointStream("CP-015")
			i, j := find[chargingpoint.PointConnected](d.history, stream, 0)
			d.rewrite(i, j, func(e *central.Envelope) { e.CausedAt++ })
			d.history.chain(stream)
			d.extend(stream, chargingpoint.LeaseChanged{Lease: time.Minute})
			d.watch(d.history, 5)
			return nil
		}, []error{audit.ErrRewritten}},
		"checkpoints taken out": {func(t *testing.T, d *day) []audit.Checkpoints {
			text := string(d.text)
			d.text = []byte(text[:strings.Index(text, "checkpoint 3: ")] + text[strings.Index(text, "checkpoint 5: "):])
			return nil
		}, []error{audit.ErrLost}},
		"the first checkpoints taken out": {func(t *testing.T, d *day) []audit.Checkpoints {
			text := string(d.text)
			d.text = []byte(text[strings.Index(text, "checkpoint 3: "):])
			return nil
		}, []error{audit.ErrLost}},
		"a head changed in a checkpoint": {func(t *testing.T, d *day) []audit.Checkpoints {
			d.text = bytes.Replace(d.text, []byte("point-CP-003 "), []byte("point-CP-033 "), 1)
			return nil
		}, []error{audit.ErrTree}},
		"a head taken out of a checkpoint": {func(t *testing.T, d *day) []audit.Checkpoints {
			lines := strings.SplitAfter(string(d.text), "\n")
			i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "session-") })
			lines = slices.Delete(lines, i, i+1)
			lines[0] = "checkpoint 1: 1 heads after 0\n"
			d.text = []byte(strings.Join(lines, ""))
			return nil
		}, []error{audit.ErrTree}},
		"a digit changed in a checkpoint": {func(t *testing.T, d *day) []audit.Checkpoints {
			d.text = bytes.Replace(d.text, []byte("\n2\n2027-"), []byte("\n7\n2027-"), 1)
			return nil
		}, []error{audit.ErrSignature, audit.ErrLost}},
		"checkpoints made by somebody else": {func(t *testing.T, d *day) []audit.Checkpoints {
			d.drop(d.stream("finished"))
			forged := &outside{TB: t, key: other}
			forged.watch(d.history, 5)
			return []audit.Checkpoints{forged.checkpoints("a file")}
		}, []error{audit.ErrUnsigned}},
		"no checkpoint at all": {func(t *testing.T, d *day) []audit.Checkpoints {
			d.text = nil
			return nil
		}, []error{audit.ErrUnsigned}},
		"what is newer than the last checkpoint": {func(t *testing.T, d *day) []audit.Checkpoints {
			d.commits = append(d.commits, refused(t, 7, d.commits[len(d.commits)-1].At))
			return nil
		}, nil},
	}
	for _, name := range tableOfAttacks(t) {
		if _, tested := attacks[name]; !tested {
			t.Errorf("docs/attacks.md has %q, which is not tested", name)
		}
	}
	for name, c := range attacks {
		if name != "nothing" && !slices.Contains(tableOfAttacks(t), name) {
			t.Errorf("docs/attacks.md does not have %q", name)
		}
		t.Run(name, func(t *testing.T) {
			d := newDay(t, key)
			all := c.attack(t, d)
			if all == nil {
				all = []audit.Checkpoints{d.checkpoints("a file")}
			}
			w, findings := against(t, d.history, key, all...)
			var got []string
			for _, f := range findings {
				got = append(got, f.String())
			}
			told := strings.Join(got, "\n")
			for _, want := range c.want {
				if !slices.ContainsFunc(findings, func(f audit.Finding) bool { return errors.Is(f.Reason, want) }) {
					t.Errorf("it does not find %q, but\n%s", want, told)
				}
			}
			if len(c.want) == 0 && len(findings) > 0 || len(findings) < len(c.want) {
				t.Errorf("it finds %d:\n%s", len(findings), told)
			}
			for _, f := range findings {
				if !slices.ContainsFunc(c.want, func(want error) bool { return errors.Is(f.Reason, want) }) && !strings.Contains(name, "edit") {
					t.Errorf("it finds, too: %s", f)
				}
			}
			if name == "nothing" && (w.Checkpoints < 15 || w.Heads < 50 || w.Newer != 0 || w.Strange != 0 || len(w.Keys) != 1) {
				t.Errorf("it has held %+v against the log", w)
			}
			if strings.Contains(name, "newer") && w.Newer != 1 {
				t.Errorf("it says that %d streams are newer", w.Newer)
			}
		})
	}
}

// In whatever order a log has its commits, as long as each stream has its own.
func TestALogInAnotherOrderIsTheSame(t *testing.T) {
	key := newKey(t)
	d := newDay(t, key)
	for seed := range uint64(20) {
		choices := rand.New(rand.NewPCG(seed, 1))
		shuffled := &history{TB: t}
		left := slices.Clone(d.commits)
		for len(left) > 0 {
			// A commit comes once nothing of its streams is left before it.
			i := choices.IntN(len(left))
			for before := -1; before != i; {
				before = i
				i = slices.IndexFunc(left, func(c eventlog.Commit) bool {
					return slices.ContainsFunc(c.Parts, func(p eventlog.Part) bool {
						return slices.ContainsFunc(left[before].Parts, func(q eventlog.Part) bool { return p.Stream == q.Stream })
					})
				})
			}
			shuffled.commits = append(shuffled.commits, left[i])
			left = slices.Delete(left, i, i+1)
		}
		if w, findings := against(t, shuffled, key, d.checkpoints("a file")); len(findings) > 0 || w.Newer != 0 {
			t.Errorf("seed %d: %+v, found %v", seed, w, findings)
		}
	}
}

// Checkpoints that two files have, or that come twice, are looked at once; what one misses
// another may have.
func TestCheckpointsOfSeveralSources(t *testing.T) {
	key := newKey(t)
	d := newDay(t, key)
	whole := d.checkpoints("a file")
	once, _ := against(t, d.history, key, whole)
	text := string(d.text)
	third, sixth := strings.Index(text, "checkpoint 3: "), strings.Index(text, "checkpoint 6: ")
	d.text = []byte(text[:third] + text[sixth:] + text[strings.LastIndex(text, "checkpoint "):])
	torn := d.checkpoints("a topic")
	d.text = []byte(text[:sixth-20] + "\n" + text[sixth:])
	cut := d.checkpoints("a file that was cut off")
	d.text = []byte("nothing\n" + text[third:])
	late := d.checkpoints("a file that begins late")
	for name, all := range map[string][]audit.Checkpoints{
		"the same twice": {whole, whole}, "each misses some": {torn, whole}, "one has what the other misses": {torn, cut, late},
	} {
		w, findings := against(t, d.history, key, all...)
		if len(findings) > 0 || w.Checkpoints != once.Checkpoints || w.Newer != 0 {
			t.Errorf("%s: %+v, found %v", name, w, findings)
		}
	}
}

// record is the text of one checkpoint.
func (o *outside) record(number int) []byte {
	o.Helper()
	from := bytes.Index(o.text, fmt.Appendf(nil, "checkpoint %d: ", number))
	if from < 0 {
		o.Fatalf("there is no checkpoint %d", number)
	}
	if to := bytes.Index(o.text[from:], fmt.Appendf(nil, "checkpoint %d: ", number+1)); to >= 0 {
		return o.text[from : from+to]
	}
	return o.text[from:]
}

// In one file, too, checkpoints may stand twice and in any order: a copy before the file that it
// is of, a topic that was told all of them once more.
func TestCheckpointsInAnyOrderAreNoFork(t *testing.T) {
	d := newDay(t, newKey(t))
	text := slices.Clone(d.text)
	once, _ := against(t, d.history, d.key, d.checkpoints("a file"))
	records := make([][]byte, once.Checkpoints)
	for i := range records {
		records[i] = d.record(i + 1)
	}
	swapped := slices.Clone(records)
	swapped[4], swapped[5] = swapped[5], swapped[4]
	shuffled := slices.Clone(records)
	rand.New(rand.NewPCG(1, 3)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	backwards := slices.Clone(records)
	slices.Reverse(backwards)
	for name, all := range map[string][][]byte{
		"all twice":                          {text, text},
		"a copy of some before all":          {bytes.Join(records[:7], nil), text},
		"the end, then all":                  {bytes.Join(records[9:], nil), text},
		"one again behind the next":          slices.Insert(slices.Clone(records), 6, records[4]),
		"two swapped":                        swapped,
		"in any order":                       shuffled,
		"backwards":                          backwards,
		"all, then all once more and a rest": {bytes.Join(records[:12], nil), text},
	} {
		d.text = bytes.Join(all, nil)
		w, findings := against(t, d.history, d.key, d.checkpoints("a file"))
		if len(findings) > 0 || w.Checkpoints != once.Checkpoints || w.Newer != 0 || w.First != once.First || w.Last != once.Last {
			t.Errorf("%s: %+v, found %v", name, w, findings)
		}
	}
}

// Whoever can write to the file can change the order, too: what he does to a checkpoint is found
// wherever he puts it.
func TestNoOrderOfCheckpointsHidesAChange(t *testing.T) {
	key := newKey(t)
	forged := &outside{TB: t, key: key}
	h, _ := everyEnding(t)
	for i, c := range h.commits {
		for j, p := range c.Parts {
			h.rewrite(i, j, func(e *central.Envelope) { e.CausedAt++ })
			h.chain(p.Stream)
		}
	}
	forged.watch(h, 5)
	whole := newDay(t, key)
	const other = 9
	second := whole.record(2)
	taken := hideHead(t, 2, whole.record(1), second)
	first := whole.record(1)
	stripped := hideHead(t, 1, nil, first)
	for name, c := range map[string]struct {
		text []byte
		want error
	}{
		"another history behind the whole":    {slices.Concat(whole.text, forged.record(other)), audit.ErrFork},
		"another history behind the next":     {bytes.Replace(whole.text, whole.record(other+1), slices.Concat(whole.record(other+1), forged.record(other)), 1), audit.ErrFork},
		"another history instead, behind":     {slices.Concat(bytes.Replace(whole.text, whole.record(other), nil, 1), forged.record(other)), audit.ErrFork},
		"a head changed, again behind":        {slices.Concat(whole.text, bytes.Replace(second, []byte("session-"), []byte("session-0"), 1)), audit.ErrTree},
		"a head hidden in its place":          {bytes.Replace(whole.text, second, taken, 1), audit.ErrTree},
		"a head hidden, behind the others":    {slices.Concat(bytes.Replace(whole.text, second, nil, 1), taken), audit.ErrTree},
		"a head hidden, before the others":    {slices.Concat(taken, bytes.Replace(whole.text, second, nil, 1)), audit.ErrTree},
		"a head hidden, and the right behind": {slices.Concat(taken, whole.text), audit.ErrTree},
		"the right, and a head hidden behind": {slices.Concat(whole.text, taken), audit.ErrTree},
		"a head of the first hidden":          {bytes.Replace(whole.text, first, stripped, 1), audit.ErrTree},
		"a head of the first hidden, behind":  {slices.Concat(bytes.Replace(whole.text, first, nil, 1), stripped), audit.ErrTree},
		"the right first, and then stripped":  {slices.Concat(whole.text, stripped), audit.ErrTree},
	} {
		d := *whole
		d.outside = &outside{TB: t, key: key, text: c.text}
		_, findings := against(t, d.history, key, d.checkpoints("a file"))
		if !slices.ContainsFunc(findings, func(f audit.Finding) bool { return errors.Is(f.Reason, c.want) }) {
			t.Errorf("%s: it finds %v, not %q", name, findings, c.want)
		}
	}
}

// hideHead takes the first head out of a record, as somebody does who knows how the tree is made:
// its hash stands among those of what was before.
func hideHead(t *testing.T, number uint64, before, text []byte) []byte {
	t.Helper()
	var tree audit.Tree
	var record audit.Record
	for r, err := range audit.Records(bytes.NewReader(before)) {
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range r.Heads {
			tree.Add(h, nil)
		}
	}
	for r, err := range audit.Records(bytes.NewReader(text)) {
		if err != nil {
			t.Fatal(err)
		}
		record = r
	}
	if len(record.Heads) < 2 || record.Before != tree.Size() {
		t.Fatalf("the record has %d heads after %d", len(record.Heads), record.Before)
	}
	tree.Add(record.Heads[0], nil)
	record.Before, record.Peaks, record.Heads = tree.Size(), tree.Peaks(), record.Heads[1:]
	return record.Append(nil, number)
}

// Any part that is older than the last checkpoint may be changed, with all that follows from
// it in its stream: it is found.
func TestAnyChangeIsFound(t *testing.T) {
	key := newKey(t)
	for seed := range uint64(40) {
		choices := rand.New(rand.NewPCG(seed, 2))
		d := newDay(t, key)
		i := choices.IntN(len(d.commits))
		j := choices.IntN(len(d.commits[i].Parts))
		stream := d.commits[i].Parts[j].Stream
		d.rewrite(i, j, func(e *central.Envelope) { e.CausedAt, e.Cause.Topic = e.CausedAt+1, "ev.control" })
		d.commits[i].Cause.Topic = "ev.control"
		d.history.chain(stream)
		_, findings := against(t, d.history, key, d.checkpoints("a file"))
		if !slices.ContainsFunc(findings, func(f audit.Finding) bool { return f.Stream == stream && errors.Is(f.Reason, audit.ErrRewritten) }) {
			t.Errorf("seed %d: a change of %s at version %d is not found, but %v", seed, stream, d.commits[i].Parts[j].Version, findings)
		}
	}
}

// extend has something more happen in a stream.
func (h *history) extend(stream eventlog.Stream, event any) {
	h.Helper()
	c := eventlog.Commit{ID: uuid.UUID{9}, At: h.commits[len(h.commits)-1].At.Add(time.Second)}
	p := eventlog.Part{Stream: stream, Version: 1, Events: 1, Kind: central.KindOf([]any{event})}
	for _, c := range h.commits {
		for _, q := range c.Parts {
			if q.Stream == stream {
				p.Version, p.Prev = q.Last()+1, q.Hash
			}
		}
	}
	var err error
	if p.Body, err = (eventjson.Codec{}).Encode(central.Envelope{Commit: c.ID, At: c.At, Events: []any{event}}); err != nil {
		h.Fatal(err)
	}
	p.Hash = p.Sum()
	c.Parts = []eventlog.Part{p}
	h.commits = append(h.commits, c)
}

// wait makes a checkpoint a long time later, in which nothing has changed.
func (o *outside) wait(h *history) {
	o.Helper()
	checkpoint, record := o.chain.Next(network, h.commits[len(h.commits)-1].At.Add(time.Hour), nil)
	var err error
	if record.Note, err = o.key.Sign(checkpoint.Text()); err == nil {
		err = o.chain.Follow(checkpoint, record)
	}
	if err != nil {
		o.Fatal(err)
	}
	o.text = record.Append(o.text, checkpoint.Number)
}
