package mongo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"evcharging/application/eventlog"
)

// Where the log is elsewhere, a session may close while MongoDB is away, and the process
// end before it is back. Sweeps look at open streams alone, so it is noted in MongoDB how
// far the log was projected, and a start looks at what closed behind that.

// covered is how far a log that is elsewhere is projected.
type covered struct {
	// caughtUp tells that what closed before this process began is stored.
	caughtUp bool
	// end is the log's end as the last sweep saw it; what of that it had to store was waiting
	// at the instant seen.
	end  reached
	seen time.Time
	// noted is what MongoDB has.
	noted reached
}

// reached is a commit of a log. A log that was made anew has another at the same position.
type reached struct {
	Position eventlog.Position `bson:"position"`
	Commit   string            `bson:"commit"`
}

// logEnd is the last commit of a log that is elsewhere.
func (p *Projections) logEnd(ctx context.Context) (reached, error) {
	if p.config.Log == nil {
		return reached{}, nil
	}
	end, err := p.config.Log.End(ctx)
	if err == nil {
		var m reached
		if m, err = p.commitAt(ctx, end); err == nil {
			return m, nil
		}
	}
	return reached{}, fmt.Errorf("read the end of the event log: %w", err)
}

// commitAt is the commit at a position; zero where there is none that can be read.
func (p *Projections) commitAt(ctx context.Context, at eventlog.Position) (reached, error) {
	if at == 0 {
		return reached{}, nil
	}
	for c, err := range p.config.Log.All(ctx, at) {
		switch {
		case errors.Is(err, eventlog.ErrDamaged):
			return reached{}, nil
		case err != nil:
			return reached{}, err
		case c.Position == at:
			return reached{c.Position, c.ID.String()}, nil
		}
		break
	}
	return reached{}, nil
}

// catchUpClosed stores, once, the documents of the sessions that closed behind what was reached.
func (p *Projections) catchUpClosed(ctx context.Context) error {
	if p.config.Log == nil || p.covered.caughtUp {
		return nil
	}
	noted, err := p.shelves.lastReached(ctx)
	if err != nil {
		return err
	}
	from := eventlog.Position(1)
	if at, err := p.commitAt(ctx, noted.Position); err != nil {
		return fmt.Errorf("read the event log: %w", err)
	} else if at == noted {
		from = noted.Position + 1
	}
	for from != 0 {
		if from, err = p.catchUpFrom(ctx, from); err != nil {
			return err
		}
	}
	p.covered.caughtUp, p.covered.noted = true, noted
	return nil
}

// catchUpFrom is catchUpClosed from a position on, until the end (next is 0) or to what
// can't be read.
func (p *Projections) catchUpFrom(ctx context.Context, from eventlog.Position) (next eventlog.Position, err error) {
	waiting := 0
	for c, err := range p.config.Log.All(ctx, from) {
		var damage *eventlog.DamagedError
		switch {
		case errors.As(err, &damage) && damage.Position >= from:
			p.logger.Error("a commit of the event log can't be read; the projections go on behind it", "error", err)
			return damage.Position + 1, p.readMissing(ctx)
		case err != nil:
			return 0, fmt.Errorf("read the event log: %w", err)
		}
		for _, part := range c.Parts {
			if part.Kind == eventlog.Closing {
				p.reread(part.Stream)
				waiting++
			}
		}
		if waiting >= atOnce {
			if err := p.readMissing(ctx); err != nil {
				return 0, err
			}
			waiting = 0
		}
	}
	return 0, p.readMissing(ctx)
}

// noteCovered notes the end of the log that the sweep before this one saw, if nothing waits
// any more that waited then: a turn hands over what it stored long before the next sweep.
func (p *Projections) noteCovered(ctx context.Context, end reached) error {
	if p.config.Log == nil {
		return nil
	}
	c := &p.covered
	p.mu.Lock()
	oldest := p.oldest()
	p.mu.Unlock()
	if c.end != c.noted && c.end != (reached{}) && (oldest.IsZero() || oldest.After(c.seen)) {
		if err := p.shelves.setReached(ctx, c.end); err != nil {
			return err
		}
		c.noted = c.end
	}
	c.end, c.seen = end, time.Now()
	return nil
}

// projected is the document of meta that has what was reached.
const projected = "projected"

// lastReached is shelves'.
func (s *Store) lastReached(ctx context.Context) (reached, error) {
	var stored struct {
		Value reached `bson:"value"`
	}
	err := s.db.Collection(metaCollection).FindOne(ctx, bson.D{{Key: "_id", Value: projected}}).Decode(&stored)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return reached{}, nil
	}
	return stored.Value, s.explain(err)
}

// setReached is shelves'.
func (s *Store) setReached(ctx context.Context, m reached) error {
	_, err := s.db.Collection(metaCollection).ReplaceOne(ctx,
		bson.D{{Key: "_id", Value: projected}}, bson.D{{Key: "_id", Value: projected}, {Key: "value", Value: m}},
		options.Replace().SetUpsert(true))
	return s.explain(err)
}
