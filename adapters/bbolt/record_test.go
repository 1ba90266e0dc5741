package bbolt

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

// golden is a commit and its record. The record never changes: logs are kept for ever.
func golden() (commit eventlog.Commit, text string) {
	part := eventlog.Part{
		Stream: "point-CP-001", Version: 300, Events: 2, Kind: eventlog.Lifecycle,
		Prev: eventlog.Hash{31: 7}, Body: []byte(`[{"type":"FaultReported"}]`),
	}
	part.Hash = part.Sum()
	closing := eventlog.Part{Stream: "session-1", Version: 1, Events: 1, Kind: eventlog.Closing, Body: []byte(`[1]`)}
	closing.Hash = closing.Sum()
	commit = eventlog.Commit{
		ID: uuid.MustParse("0198f2a4-7c1e-7a3b-9c4d-5e6f70819203"), At: 1_750_000_000_123,
		Cause: eventlog.Cause{Topic: "ev.health", Partition: 3, Offset: 1 << 40, Digest: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}},
		Parts: []eventlog.Part{part, closing},
	}
	text = "01fc05a6bf000000d8" + // format, checksum, length
		"0198f2a47c1e7a3b9c4d5e6f70819203" + "000001977420dc7b" + // id, time
		"01" + "09" + hex.EncodeToString([]byte("ev.health")) + "00000003" + "0000010000000000" + "0102030405060708" +
		"02" + // parts
		"0c" + hex.EncodeToString([]byte("point-CP-001")) + "ac02" + "02" + "01" +
		"0000000000000000000000000000000000000000000000000000000000000007" + hex.EncodeToString(part.Hash[:]) + "1a" +
		"09" + hex.EncodeToString([]byte("session-1")) + "01" + "01" + "03" +
		"0000000000000000000000000000000000000000000000000000000000000000" + hex.EncodeToString(closing.Hash[:]) + "03" +
		hex.EncodeToString([]byte(`[{"type":"FaultReported"}][1]`))
	return commit, text
}

func TestRecordIsTheGoldenOne(t *testing.T) {
	commit, text := golden()
	if got := hex.EncodeToString(encode(commit)); got != text {
		t.Errorf("the record is\n%s, want\n%s", got, text)
	}
	value, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decoded(value)
	if err != nil || !same(got, commit) {
		t.Errorf("decoded %+v, %v, want %+v", got, err, commit)
	}
}

func decoded(value []byte) (eventlog.Commit, error) {
	var r record
	if err := r.decode(value); err != nil {
		return eventlog.Commit{}, err
	}
	return r.commit("")
}

func same(a, b eventlog.Commit) bool {
	return a.ID == b.ID && a.At == b.At && a.Cause == b.Cause && slices.EqualFunc(a.Parts, b.Parts, func(p, q eventlog.Part) bool {
		return p.Stream == q.Stream && p.Version == q.Version && p.Events == q.Events && p.Kind == q.Kind &&
			p.Prev == q.Prev && p.Hash == q.Hash && bytes.Equal(p.Body, q.Body)
	})
}

func TestRecordOfAnyCommitIsThatCommit(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		commit := eventlog.Commit{ID: uuid.New(), At: 1}
		if rapid.Bool().Draw(rt, "caused") {
			commit.Cause = eventlog.Cause{
				Topic: rapid.StringN(0, 60, eventlog.MaxName).Draw(rt, "topic"), Partition: rapid.Int32().Draw(rt, "partition"),
				Offset: rapid.Int64().Draw(rt, "offset"), Digest: [8]byte(rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(rt, "digest")),
			}
		}
		for _, stream := range rapid.SliceOfNDistinct(rapid.StringN(1, 60, eventlog.MaxName), 1, 5, rapid.ID[string]).Draw(rt, "streams") {
			part := eventlog.Part{
				Stream: eventlog.Stream(stream), Version: eventlog.Version(rapid.Uint64Range(1, eventlog.MaxVersion).Draw(rt, "version")),
				Events: rapid.IntRange(1, eventlog.MaxEvents).Draw(rt, "events"),
				Kind:   eventlog.Kind(rapid.Uint8Range(1, 3).Draw(rt, "kind")),
				Body:   rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(rt, "body"),
			}
			part.Hash = part.Sum()
			commit.Parts = append(commit.Parts, part)
		}
		if err := commit.Check(); err != nil {
			rt.Fatal(err)
		}
		got, err := decoded(encode(commit))
		if err != nil || !same(got, commit) {
			rt.Fatalf("decoded %+v, %v, want %+v", got, err, commit)
		}
	})
}

func TestRecordWithAnyByteChangedIsRefused(t *testing.T) {
	commit, _ := golden()
	value := encode(commit)
	for i := range value {
		spoiled := slices.Clone(value)
		spoiled[i] ^= 0x10
		var hash *hashError
		if got, err := decoded(spoiled); !errors.Is(err, errRecord) && !errors.As(err, &hash) {
			t.Errorf("byte %d: %+v, %v", i, got, err)
		}
	}
	for n := range value {
		if got, err := decoded(value[:n]); !errors.Is(err, errRecord) {
			t.Errorf("%d bytes: %+v, %v", n, got, err)
		}
	}
	if _, err := decoded(append(value, 0)); !errors.Is(err, errRecord) {
		t.Errorf("a byte more: %v", err)
	}
}

func FuzzRecord(f *testing.F) {
	commit, _ := golden()
	f.Add(encode(commit))
	b := eventlogtest.NewBuilder("t")
	f.Add(encode(b.Commit(eventlog.Cause{}, eventlogtest.Sample("s", `1`))))
	f.Add([]byte{recordFormat, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, value []byte) {
		commit, err := decoded(value)
		if err != nil {
			return
		}
		// What can be decoded is what encoding gives.
		if again := encode(commit); commit.Check() == nil && !bytes.Equal(again, value) {
			t.Errorf("%x is decoded, and encoded as %x", value, again)
		}
	})
}
