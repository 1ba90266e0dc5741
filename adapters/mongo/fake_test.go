package mongo

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"

	"evcharging/application/eventlog"
)

var errAway = errors.New("the server is away")

// fakeShelves stands in for MongoDB. TestShelves holds both to the same rules.
type fakeShelves struct {
	mu        sync.Mutex
	documents map[string]map[string]bson.Raw
	reached   reached
	// own is the first commit of the event log in the same database.
	own eventlog.Commit
	// away makes everything fail; unknown makes what is stored look as if it had failed, as
	// often as it says.
	away    bool
	unknown int
	// refuse says why a document is refused for good; empty: it is not.
	refuse func(replacement) string
	writes int
	// before is called, unlocked, before each write.
	before func()
}

func newFake() *fakeShelves {
	return &fakeShelves{documents: map[string]map[string]bson.Raw{
		pointsCollection: {}, driversCollection: {}, sessionsCollection: {},
	}}
}

func (f *fakeShelves) setAway(away bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = away
}

// fail says what fails from now on.
func (f *fakeShelves) fail(away bool, unknown int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away, f.unknown = away, unknown
}

func (f *fakeShelves) replace(ctx context.Context, collection string, documents []replacement) []error {
	if f.before != nil {
		f.before()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	outcomes := make([]error, len(documents))
	f.writes++
	for i, d := range documents {
		switch {
		case ctx.Err() != nil:
			outcomes[i] = ctx.Err()
			continue
		case f.away:
			outcomes[i] = errAway
			continue
		case f.refuse != nil && f.refuse(d) != "":
			outcomes[i] = &refusedError{f.refuse(d), errors.New("the test refuses it")}
			continue
		}
		outcomes[i] = f.put(collection, d)
		if f.unknown > 0 {
			f.unknown--
			outcomes[i] = errAway
		}
	}
	return outcomes
}

func (f *fakeShelves) put(collection string, d replacement) error {
	found := f.documents[collection][d.id]
	if d.version == 0 {
		if (d.found != nil) == (found != nil) {
			f.documents[collection][d.id] = slices.Clone(d.body)
		}
		return nil
	}
	stored := found.Lookup("version")
	version, ok := stored.AsFloat64OK() // MongoDB compares numbers of any kind; none is less than NaN
	switch {
	case d.found == nil && (found == nil || ok && version < float64(d.version) && d.follows(found)),
		d.found != nil && found != nil && stored.Equal(*d.found):
		f.documents[collection][d.id] = slices.Clone(d.body)
	case d.found == nil:
		return errNewer
	}
	return nil
}

func (f *fakeShelves) read(ctx context.Context, collection string, ids []string) (map[string]bson.Raw, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away || ctx.Err() != nil {
		return nil, errors.Join(errAway, ctx.Err())
	}
	found := map[string]bson.Raw{}
	for _, id := range ids {
		if d, ok := f.documents[collection][id]; ok {
			found[id] = d
		}
	}
	return found, nil
}

func (f *fakeShelves) remove(ctx context.Context, collection string, documents []removal) ([]bool, error) {
	if f.before != nil {
		f.before()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away || ctx.Err() != nil {
		return nil, errors.Join(errAway, ctx.Err())
	}
	f.writes++
	stayed := make([]bool, len(documents))
	for i, d := range documents {
		id, _ := d.id.(string)
		found, there := f.documents[collection][id]
		same := found.Lookup("version").Equal(d.version) && found.Lookup("updated_at").Equal(d.updatedAt)
		if d.guarded && !same {
			stayed[i] = there
		} else {
			delete(f.documents[collection], id)
		}
	}
	return stayed, nil
}

func (f *fakeShelves) first(context.Context) (eventlog.Commit, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return eventlog.Commit{}, errAway
	}
	return f.own, nil
}

func (f *fakeShelves) ids(_ context.Context, collection string, each func(bson.RawValue) error) error {
	f.mu.Lock()
	var all []bson.RawValue
	for id := range f.documents[collection] {
		all = append(all, textValue(id))
	}
	away := f.away
	f.mu.Unlock()
	if away {
		return errAway
	}
	for _, id := range all {
		if err := each(id); err != nil {
			return err
		}
	}
	return nil
}

// textValue is a text as a document has it.
func textValue(text string) bson.RawValue {
	kind, value, _ := bson.MarshalValue(text) // of a text, it can't fail
	return bson.RawValue{Type: kind, Value: value}
}

func (f *fakeShelves) ready(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return errAway
	}
	return nil
}

func (f *fakeShelves) lastReached(context.Context) (reached, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return reached{}, errAway
	}
	return f.reached, nil
}

func (f *fakeShelves) setReached(_ context.Context, r reached) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return errAway
	}
	f.reached = r
	return nil
}

// all are the documents by collection and id.
func (f *fakeShelves) all() map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[string]string{}
	for collection, documents := range f.documents {
		for id, d := range documents {
			out[collection+"/"+id] = d.String()
		}
	}
	return out
}

// change changes a stored document, or with nil removes it.
func (f *fakeShelves) change(collection, id string, to bson.Raw) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if to == nil {
		delete(f.documents[collection], id)
		return
	}
	f.documents[collection][id] = to
}

func (f *fakeShelves) clone() *fakeShelves {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := newFake()
	for collection, documents := range f.documents {
		c.documents[collection] = maps.Clone(documents)
	}
	return c
}
