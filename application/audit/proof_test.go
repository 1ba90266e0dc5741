package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/memory"
	"evcharging/adapters/notary"
	"evcharging/application/audit"
	"evcharging/application/audit/audittest"
	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/domain"
	"evcharging/domain/session"
)

// What is said of each ending is held against what was computed by hand.
func TestTheAccountOfEveryEnding(t *testing.T) {
	h, supplies := everyEnding(t)
	for name, want := range supplies {
		t.Run(name, func(t *testing.T) {
			got, err := audit.Explain(t.Context(), h, eventjson.Codec{}, want.Session)
			if err != nil {
				t.Fatal(err)
			}
			if got.Status != want.Status || got.Ignored != (session.Ignored{NotNewer: want.NotNewer, RunsBackwards: want.RunsBackwards}) {
				t.Errorf("it is %s, %+v are ignored", got.Status, got.Ignored)
			}
			var gaps []string
			for _, g := range got.Gaps {
				gaps = append(gaps, g.String())
			}
			if !slices.Equal(gaps, want.Gaps) {
				t.Errorf("the gaps are %q, want %q", gaps, want.Gaps)
			}
			commits, samples := 0, 0
			var last eventlog.Part
			for _, c := range h.commits {
				for _, p := range c.Parts {
					if p.Stream != central.SessionStream(want.Session) {
						continue
					}
					commits, last = commits+1, p
					for _, e := range h.decode(p).Events {
						if _, ok := e.(session.MeterValueRecorded); ok {
							samples++
						}
					}
				}
			}
			if len(got.Inputs) != commits || got.Samples != samples || got.Version != last.Last() || got.Digest != last.Hash {
				t.Errorf("%d inputs, %d samples, version %d", len(got.Inputs), got.Samples, got.Version)
			}
			before := eventlog.Version(0)
			for _, in := range got.Inputs {
				if in.Version <= before || len(in.Said) == 0 || in.Source.Topic == "" || in.Source.Timestamp == 0 || in.Source.Timestamp > in.At {
					t.Errorf("input %+v", in)
				}
				before = in.Version
			}
			if want.Amount == "" {
				if got.Bill != nil {
					t.Errorf("its bill is %+v", got.Bill)
				}
				return
			}
			if got.Price.String() != want.Price || got.PriceAt != got.Inputs[0].At {
				t.Errorf("its price is %s since %s", got.Price, got.PriceAt)
			}
			b := got.Bill
			if b == nil || b.Energy.String() != want.Energy || b.Price.String() != want.Price || b.Amount.String() != want.Amount ||
				b.Formula() != want.Formula || b.Reason != want.Reason || b.Revision != want.Revisions || len(got.Revisions) != want.Revisions || b.From != want.From {
				t.Errorf("its bill is %+v, %s", b, b.Formula())
			}
		})
	}
}

func TestTheAccountOfWhatIsNotThere(t *testing.T) {
	h, supplies := everyEnding(t)
	if _, err := audit.Explain(t.Context(), h, eventjson.Codec{}, "S-1"); !errors.Is(err, audit.ErrNoSession) {
		t.Errorf("of no session it says %v", err)
	}
	ticket(func(e *session.TicketIssued) { e.Amount++ })(h, central.SessionStream(supplies["finished"].Session))
	if _, err := audit.Explain(t.Context(), h, eventjson.Codec{}, supplies["finished"].Session); err == nil || !strings.Contains(err.Error(), "0.105 EUR follows") {
		t.Errorf("of a bill that does not follow it says %v", err)
	}
}

func keysOf(t testing.TB, key *notary.Key) *notary.Keys {
	t.Helper()
	keys, err := notary.ParseKeys(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// prove is a proof's file.
func (d *day) prove(id domain.SessionID) ([]byte, error) {
	d.history.Helper()
	proof, err := audit.Prove(d.history.Context(), d.history, eventjson.Codec{}, keysOf(d.history, d.key), []audit.Checkpoints{d.checkpoints("a file")}, id)
	if err != nil {
		return nil, err
	}
	return notary.EncodeProof(proof)
}

// checked reads a proof's file and checks it.
func checked(t testing.TB, text []byte, key *notary.Key) (audit.Account, error) {
	t.Helper()
	proof, err := notary.DecodeProof(text)
	if err != nil {
		return audit.Account{}, err
	}
	account, _, _, err := audit.Check(t.Context(), proof, keysOf(t, key), eventjson.Codec{})
	return account, err
}

func TestAProofOfEveryBill(t *testing.T) {
	key := newKey(t)
	d := newDay(t, key)
	bills := 0
	for name, s := range d.supplies {
		text, err := d.prove(s.Session)
		if s.Amount == "" {
			if !errors.Is(err, audit.ErrNoBill) {
				t.Errorf("%s: without a bill it says %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		bills++
		account, err := checked(t, text, key)
		if err != nil || account.Bill.Amount.String() != s.Amount || account.Bill.Formula() != s.Formula {
			t.Errorf("%s: %v, %+v", name, err, account.Bill)
		}
		if _, err := checked(t, text, newKey(t)); !errors.Is(err, audit.ErrProof) {
			t.Errorf("%s: under another key it says %v", name, err)
		}
	}
	if bills < 10 {
		t.Errorf("%d bills were proved", bills)
	}
}

func TestWhatCannotBeProved(t *testing.T) {
	key := newKey(t)
	d := newDay(t, key)
	id := d.supplies["revised twice"].Session
	d.text = nil
	if _, err := d.prove(id); !errors.Is(err, audit.ErrUncovered) {
		t.Errorf("without a checkpoint it says %v", err)
	}
	d = newDay(t, key)
	if _, err := d.prove("S-1"); !errors.Is(err, audit.ErrNoSession) {
		t.Errorf("of no session it says %v", err)
	}
	// A checkpoint has the ticket and the first revision, and none the second.
	h, _ := everyEnding(t)
	i, _ := find[session.TicketRevised](h, central.SessionStream(id), 1)
	early := &day{h, &outside{TB: t, key: key}, d.supplies}
	early.sign(h.commits[:i], i)
	if _, err := early.prove(id); !errors.Is(err, audit.ErrUncovered) {
		t.Errorf("of a revision that is newer than the last checkpoint it says %v", err)
	}
	// The log is another one.
	change(d.history, central.SessionStream(id), func(e *session.SupplyAuthorized) { e.Order++ })
	d.history.chain(central.SessionStream(id))
	if _, err := d.prove(id); !errors.Is(err, audit.ErrRewritten) {
		t.Errorf("of a log that is not what was signed it says %v", err)
	}
}

// However one byte of a proof is changed, it is found.
func TestEveryByteOfAProofCounts(t *testing.T) {
	key := newKey(t)
	d := newDay(t, key)
	var proofs [][]byte
	for _, s := range d.supplies {
		if s.Amount != "" {
			text, err := d.prove(s.Session)
			if err != nil {
				t.Fatal(err)
			}
			proofs = append(proofs, text)
		}
	}
	slices.SortFunc(proofs, bytes.Compare)
	choices := rand.New(rand.NewPCG(1, 2))
	for range 1_000 {
		whole := proofs[choices.IntN(len(proofs))]
		text := slices.Clone(whole)
		i := choices.IntN(len(text))
		for text[i] == whole[i] {
			text[i] = byte(choices.IntN(256))
		}
		if _, err := checked(t, text, key); err == nil {
			t.Fatalf("byte %d may be %q instead of %q:\n%s", i, text[i], whole[i], text)
		}
	}
}

// thousand are proofs, good ones and bad ones.
type thousand struct {
	*testing.T
	key    *notary.Key
	choose *rand.Rand
	good   [][]byte
	texts  [][]byte
	names  []string
}

func (p *thousand) add(name string, text []byte) {
	p.texts, p.names = append(p.texts, text), append(p.names, name)
}

// many is a log of many supplies, and what is kept outside it.
func many(t *testing.T, key *notary.Key, supplies int) (*day, []domain.SessionID) {
	choices := rand.New(rand.NewPCG(3, 4))
	log := memory.NewLog()
	ids := audittest.Many(audittest.New(t, log, eventjson.Codec{}), supplies, choices.IntN)
	d := &day{copyOf(t, log), &outside{TB: t, key: key}, nil}
	d.watch(d.history, 100)
	return d, ids
}

// fill makes a thousand proofs, half of them bad, each in one of the ways in which a proof can be.
func (p *thousand) fill() {
	d, ids := many(p.T, p.key, 500)
	var decoded []audit.Proof
	records := d.checkpoints("a file")
	for _, id := range ids {
		proof, err := audit.Prove(p.Context(), d.history, eventjson.Codec{}, keysOf(p, p.key), []audit.Checkpoints{records}, id)
		if err != nil {
			p.Fatal(err)
		}
		text, err := notary.EncodeProof(proof)
		if err != nil {
			p.Fatal(err)
		}
		decoded, p.good = append(decoded, proof), append(p.good, text)
		p.add("good", text)
	}
	stranger, liar := newKey(p), p.lie(d, ids)
	foreign := &day{d.history, &outside{TB: p, key: stranger}, nil}
	foreign.watch(d.history, 100)
	foreignRecords := foreign.checkpoints("a file")
	encode := func(proof audit.Proof) []byte {
		text, err := notary.EncodeProof(proof)
		if err != nil {
			p.Fatal(err)
		}
		return text
	}
	ways := []struct {
		name string
		bad  func(proof, other audit.Proof, text []byte) []byte
	}{
		{"a byte", func(_, _ audit.Proof, text []byte) []byte {
			i := p.choose.IntN(len(text))
			text[i] ^= byte(1 + p.choose.IntN(255))
			return text
		}},
		{"a digit", func(_, _ audit.Proof, text []byte) []byte {
			for {
				if i := p.choose.IntN(len(text)); text[i] >= '0' && text[i] <= '9' {
					text[i] = '0' + (text[i]-'0'+byte(1+p.choose.IntN(9)))%10
					return text
				}
			}
		}},
		{"cut off", func(_, _ audit.Proof, text []byte) []byte { return text[:p.choose.IntN(len(text))] }},
		{"a space", func(_, _ audit.Proof, text []byte) []byte {
			return bytes.Replace(text, []byte(`,"`), []byte([]string{`, "`, ",\n\""}[p.choose.IntN(2)]), 1)
		}},
		{"no line feed", func(_, _ audit.Proof, text []byte) []byte { return text[:len(text)-1] }},
		{"a field more", func(_, _ audit.Proof, text []byte) []byte {
			return bytes.Replace(text, []byte(`,"note"`), []byte(`,"more":1,"note"`), 1)
		}},
		{"a field twice", func(_, _ audit.Proof, text []byte) []byte {
			return bytes.Replace(text, []byte(`,"note"`), []byte(`,"leaf":1,"note"`), 1)
		}},
		{"another order", func(_, _ audit.Proof, text []byte) []byte {
			return bytes.Replace(text, []byte(`{"format":"evcharging proof 1",`), []byte(`{`), 1)
		}},
		{"a figure as another kind", func(_, _ audit.Proof, text []byte) []byte {
			change := [][2]string{{`"revision":0,`, `"revision":false,`}, {`"revision":0,`, `"revision":0.0,`}, {`"revision":0,`, `"revision":-0,`}, {`"leaf":`, `"leaf":0`}}[p.choose.IntN(4)]
			changed := bytes.Replace(text, []byte(change[0]), []byte(change[1]), 1)
			if bytes.Equal(changed, text) {
				return text[1:]
			}
			return changed
		}},
		{"an escape", func(_, _ audit.Proof, text []byte) []byte {
			return bytes.Replace(text, []byte("session"), []byte(`\u0073ession`), 1)
		}},
		{"another's bill", func(proof, other audit.Proof, _ []byte) []byte { proof.Bill = other.Bill; return encode(proof) }},
		{"another amount", func(proof, _ audit.Proof, _ []byte) []byte { proof.Bill.Amount++; return encode(proof) }},
		{"another amount, also among the events", func(proof, _ audit.Proof, _ []byte) []byte {
			before := fmt.Sprintf(`"amount":%d`, proof.Bill.Amount)
			proof.Bill.Amount += 10
			for i, part := range proof.Parts {
				proof.Parts[i] = strings.Replace(part, before, fmt.Sprintf(`"amount":%d`, proof.Bill.Amount), 1)
			}
			return encode(proof)
		}},
		{"another's session", func(proof, other audit.Proof, _ []byte) []byte { proof.Session = other.Session; return encode(proof) }},
		{"another's parts", func(proof, other audit.Proof, _ []byte) []byte { proof.Parts = other.Parts; return encode(proof) }},
		{"another network", func(proof, _ audit.Proof, _ []byte) []byte { proof.Network[3]++; return encode(proof) }},
		{"a part less", func(proof, _ audit.Proof, _ []byte) []byte {
			i := p.choose.IntN(len(proof.Parts))
			proof.Parts = slices.Delete(proof.Parts, i, i+1)
			return encode(proof)
		}},
		{"a part twice", func(proof, _ audit.Proof, _ []byte) []byte {
			proof.Parts = append(proof.Parts, proof.Parts[len(proof.Parts)-1])
			return encode(proof)
		}},
		{"no parts", func(proof, _ audit.Proof, _ []byte) []byte { proof.Parts = nil; return encode(proof) }},
		{"another leaf", func(proof, _ audit.Proof, _ []byte) []byte {
			proof.Leaf += int64(1 - 2*p.choose.IntN(2))
			return encode(proof)
		}},
		{"a leaf far away", func(proof, _ audit.Proof, _ []byte) []byte { proof.Leaf += 1 << 40; return encode(proof) }},
		{"a hash of the path less", func(proof, _ audit.Proof, _ []byte) []byte { proof.Path = proof.Path[1:]; return encode(proof) }},
		{"a hash of the path more", func(proof, _ audit.Proof, _ []byte) []byte {
			proof.Path = append(proof.Path, proof.Path[0])
			return encode(proof)
		}},
		{"another checkpoint", func(proof, other audit.Proof, _ []byte) []byte {
			for _, o := range []audit.Proof{decoded[0], decoded[len(decoded)-1], other} {
				if o.Note != proof.Note {
					proof.Note = o.Note
					break
				}
			}
			return encode(proof)
		}},
		{"made by somebody else", func(proof, _ audit.Proof, _ []byte) []byte {
			made, err := audit.Prove(p.Context(), d.history, eventjson.Codec{}, keysOf(p, stranger), []audit.Checkpoints{foreignRecords}, proof.Session)
			if err != nil {
				p.Fatal(err)
			}
			return encode(made)
		}},
		{"a signature too many", func(proof, _ audit.Proof, _ []byte) []byte {
			proof.Note += proof.Note[strings.LastIndex(proof.Note, "— "):]
			return encode(proof)
		}},
		{"of a Central that lies", func(audit.Proof, audit.Proof, []byte) []byte { return liar() }},
	}
	for i := 0; len(p.texts) < 1_000; i++ {
		way, n := ways[i%len(ways)], p.choose.IntN(len(decoded)-40)
		proof := decoded[n]
		proof.Parts, proof.Path = slices.Clone(proof.Parts), slices.Clone(proof.Path)
		p.add(way.name, way.bad(proof, decoded[n+1+p.choose.IntN(30)], slices.Clone(p.good[n])))
	}
}

// lie gives proofs that are signed by the right key, of bills that don't follow.
func (p *thousand) lie(d *day, ids []domain.SessionID) func() []byte {
	h := &history{TB: p}
	h.commits = slices.Clone(d.commits)
	lies := []func(*session.TicketIssued){
		func(e *session.TicketIssued) { e.Amount += 10_000 },
		func(e *session.TicketIssued) { e.Energy++ },
		func(e *session.TicketIssued) {
			e.Energy, e.Amount = e.Energy+1_000_000, domain.Cost(e.Energy+1_000_000, e.Price)
		},
		func(e *session.TicketIssued) { e.Reason = "UNPLUGGED, NOT" },
		func(e *session.TicketIssued) { e.Price++ },
		func(e *session.TicketIssued) { e.EndedAt++ },
		func(e *session.TicketIssued) { e.StartedAt-- },
		func(e *session.TicketIssued) { e.Ticket = "T-1" },
	}
	var texts [][]byte
	for i := range 3 * len(lies) {
		stream := central.SessionStream(ids[7*i])
		change(h, stream, lies[i%len(lies)])
		h.chain(stream)
	}
	outside := &outside{TB: p, key: p.key}
	outside.watch(h, 100)
	for i := range 3 * len(lies) {
		texts = append(texts, p.unchecked(h, outside, ids[7*i]))
	}
	next := 0
	return func() []byte { next++; return texts[next%len(texts)] }
}

// unchecked is a proof that nobody has verified before it was made.
func (p *thousand) unchecked(h *history, o *outside, id domain.SessionID) []byte {
	p.Helper()
	proof := audit.Proof{Network: network, Session: id}
	stream := central.SessionStream(id)
	for _, c := range h.commits {
		for _, part := range c.Parts {
			if part.Stream != stream {
				continue
			}
			proof.Parts = append(proof.Parts, string(part.Body))
			for _, e := range h.decode(part).Events {
				switch e := e.(type) {
				case session.SupplyAuthorized:
					proof.Bill.Point, proof.Bill.Driver = e.Point, e.Driver
				case session.TicketIssued:
					proof.Bill.Ticket = session.Ticket{
						ID: e.Ticket, StartedAt: e.StartedAt, EndedAt: e.EndedAt, Energy: e.Energy, Price: e.Price, Amount: e.Amount, Reason: e.Reason,
					}
					proof.Bill.Digest = part.Hash
				case session.TicketRevised:
					b := &proof.Bill
					b.Revision, b.Energy, b.Amount, b.EndedAt, b.Digest = e.Revision, e.EnergyAfter, e.AmountAfter, e.EndedAt, part.Hash
				}
			}
		}
	}
	for record, err := range audit.Records(bytes.NewReader(o.text)) {
		if err != nil {
			p.Fatal(err)
		}
		for i, head := range record.Heads {
			if head.Stream == stream {
				var err error
				if proof.Leaf, proof.Path, err = record.Inclusion(i); err != nil {
					p.Fatal(err)
				}
				proof.Note = string(record.Note)
			}
		}
	}
	text, err := notary.EncodeProof(proof)
	if err != nil {
		p.Fatal(err)
	}
	return text
}

// A checker that was written from docs/proof.md, in another language, agrees with ours on a
// thousand proofs.
func TestASecondCheckerAgrees(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3, which the second checker is written in")
	}
	p := &thousand{T: t, key: newKey(t), choose: rand.New(rand.NewPCG(5, 6))}
	p.fill()
	dir := t.TempDir()
	args := []string{filepath.Join("testdata", "check.py"), filepath.Join(dir, "network.pub")}
	if err := os.WriteFile(args[1], []byte("# ours\n"+p.key.Public()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, text := range p.texts {
		name := filepath.Join(dir, fmt.Sprintf("%04d.json", i))
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, name)
	}
	command := exec.Command(python, args...)
	command.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	said, err := command.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Fatalf("the second checker: %v\n%s", err, said)
	}
	lines := strings.Split(strings.TrimSpace(string(said)), "\n")
	if len(lines) != len(p.texts) || len(lines) != 1_000 {
		t.Fatalf("the second checker says %d lines of %d proofs", len(lines), len(p.texts))
	}
	for i, text := range p.texts {
		_, err := checked(t, text, p.key)
		if good := p.names[i] == "good"; good != (err == nil) || good != (lines[i] == "ok") {
			t.Errorf("proof %d, %s: ours says %v, the second checker %s", i, p.names[i], err, lines[i])
		}
	}
}
