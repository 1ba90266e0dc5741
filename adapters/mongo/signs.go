package mongo

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"evcharging/application/central"
	"evcharging/domain"
)

const (
	// shareEvery is how often what was heard is written, and what others heard is read.
	shareEvery = time.Second
	// silent is after how long a point's next sign is written at once: somebody else may be
	// asked to decide on it.
	silent = 10 * time.Second
	// overlap is how long a write may take from the instant that the server gives it until it
	// can be read.
	overlap = time.Second
)

// Signs is central.SignsOfLife for several Centrals that share a database: what any of
// them heard counts. All methods may be called from any number of goroutines.
type Signs struct {
	store  *Store
	atOnce together[heardSign]

	mu sync.Mutex
	// queue waits to be written.
	queue map[domain.PointID]central.Sign
	// known is what was heard here, or read.
	known map[domain.PointID]central.Sign
	away  bool
}

var _ central.SignsOfLife = (*Signs)(nil)

// heardSign is a point's sign of life.
type heardSign struct {
	point domain.PointID
	central.Sign
}

// signShape is a document of signs.
type signShape struct {
	Point      domain.PointID `bson:"_id"`
	HeardAt    bson.DateTime  `bson:"heard_at"`
	ReportedAt bson.DateTime  `bson:"reported_at"`
	// WrittenAt is when, by the server's clock.
	WrittenAt bson.DateTime `bson:"written_at"`
}

func (s signShape) sign() central.Sign {
	return central.Sign{HeardAt: domain.UnixMillis(s.HeardAt), ReportedAt: domain.UnixMillis(s.ReportedAt)}
}

// Signs are the signs of life in the store's database.
func (s *Store) Signs() *Signs {
	return &Signs{
		store: s, atOnce: together[heardSign]{do: s.writeSigns},
		queue: map[domain.PointID]central.Sign{}, known: map[domain.PointID]central.Sign{},
	}
}

// Heard is central.SignsOfLife's. Run writes the sign within a second; the first after a
// silence is written before Heard returns, if MongoDB takes it. It never fails: a sign that
// is lost is followed by the next one.
func (g *Signs) Heard(ctx context.Context, point domain.PointID, sign central.Sign) error {
	g.mu.Lock()
	before, known := g.known[point]
	if !known || sign.Newer(before) {
		g.known[point] = sign
	}
	if queued, waits := g.queue[point]; !waits || sign.Newer(queued) {
		g.queue[point] = sign
	}
	g.mu.Unlock()
	if sign.HeardAt == 0 || sign.HeardAt.Sub(before.HeardAt) < silent {
		return nil
	}
	select {
	case err := <-g.atOnce.ask(heardSign{point, sign}):
		if err == nil {
			g.written(heardSign{point, sign})
		}
	case <-ctx.Done():
	}
	return nil
}

// written takes a sign from the queue.
func (g *Signs) written(h heardSign) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.queue[h.point] == h.Sign {
		delete(g.queue, h.point)
	}
}

// Last is central.SignsOfLife's: what anybody wrote so far, or this one has heard.
func (g *Signs) Last(ctx context.Context, point domain.PointID) (central.Sign, error) {
	g.mu.Lock()
	queued := g.queue[point]
	g.mu.Unlock()
	var stored signShape
	err := g.store.db.Collection(signsCollection).FindOne(ctx, bson.D{{Key: "_id", Value: point}}).Decode(&stored)
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return central.Sign{}, g.store.explain(err)
	}
	if last := stored.sign(); last.Newer(queued) {
		return last, nil
	}
	return queued, nil
}

// Run writes what was heard, and hands over what others have heard since it began, both
// once a second. It returns nil once ctx has ended and what was heard is written, or could
// not be. heard is called by one goroutine. It runs once.
func (g *Signs) Run(ctx context.Context, heard func(domain.PointID, central.Sign)) error {
	tick := time.NewTicker(shareEvery)
	defer tick.Stop()
	// Signs from before it began may be yesterday's.
	var began, since bson.DateTime
	begun := false
	for {
		err := g.flush(ctx)
		if err == nil && !begun {
			began, err = g.newest(ctx)
			since, begun = began, err == nil
		}
		if err == nil {
			since, err = g.read(ctx, since, max(began, since-bson.DateTime(overlap.Milliseconds())), heard)
		}
		g.answers(ctx, err)
		select {
		case <-tick.C:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
			defer cancel()
			_ = g.flush(last) // the next sign comes soon
			return nil
		}
	}
}

// answers takes in whether the store answers, and says it where that has changed.
func (g *Signs) answers(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case err != nil && !g.away:
		g.away = true
		g.store.logger.Warn("signs of life wait for MongoDB", "error", err)
	case err == nil && g.away:
		g.away = false
		g.store.logger.Info("signs of life are shared again")
	}
}

// flush writes what is queued.
func (g *Signs) flush(ctx context.Context) error {
	g.mu.Lock()
	queue := maps.Clone(g.queue)
	g.mu.Unlock()
	all := make([]heardSign, 0, bulkSize)
	var failed error
	write := func() {
		for i, err := range g.store.writeSigns(ctx, all) {
			if err == nil {
				g.written(all[i])
			} else {
				failed = err
			}
		}
		all = all[:0]
	}
	for point, sign := range queue {
		if all = append(all, heardSign{point, sign}); len(all) == bulkSize {
			write()
		}
	}
	if failed == nil {
		write()
	}
	return failed
}

// writeSigns writes signs, in any order, and gives each one's outcome. Whether a sign is
// newer than the stored one is decided by the server.
func (s *Store) writeSigns(ctx context.Context, all []heardSign) []error {
	outcomes := make([]error, len(all))
	models := make(map[int]mongo.WriteModel, len(all))
	for i, h := range all {
		heardAt, reportedAt := bson.DateTime(h.HeardAt), bson.DateTime(h.ReportedAt)
		models[i] = mongo.NewUpdateOneModel().SetUpsert(true).
			SetFilter(bson.D{{Key: "_id", Value: h.point}, {Key: "$or", Value: bson.A{
				bson.D{{Key: "reported_at", Value: bson.D{{Key: "$lt", Value: reportedAt}}}},
				bson.D{{Key: "reported_at", Value: reportedAt}, {Key: "heard_at", Value: bson.D{{Key: "$lt", Value: heardAt}}}},
			}}}).
			SetUpdate(bson.D{
				{Key: "$set", Value: bson.D{{Key: "heard_at", Value: heardAt}, {Key: "reported_at", Value: reportedAt}}},
				{Key: "$currentDate", Value: bson.D{{Key: "written_at", Value: true}}},
			})
	}
	s.writeEach(ctx, signsCollection, models, outcomes)
	for i, err := range outcomes {
		if errors.Is(err, errNewer) {
			outcomes[i] = nil
		}
	}
	return outcomes
}

// newest is when the last sign was written.
func (g *Signs) newest(ctx context.Context) (bson.DateTime, error) {
	var last signShape
	err := g.store.db.Collection(signsCollection).
		FindOne(ctx, bson.D{}, options.FindOne().SetSort(bson.D{{Key: "written_at", Value: -1}})).Decode(&last)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return 0, nil
	}
	return last.WrittenAt, g.store.explain(err)
}

// read hands over what others have written after an instant, and gives when the newest was
// written: since, where that is later.
func (g *Signs) read(ctx context.Context, since, after bson.DateTime, heard func(domain.PointID, central.Sign)) (next bson.DateTime, err error) {
	cursor, err := g.store.db.Collection(signsCollection).Find(ctx, bson.D{{Key: "written_at", Value: bson.D{{Key: "$gt", Value: after}}}})
	if err != nil {
		return since, g.store.explain(err)
	}
	var all []signShape
	if err := cursor.All(ctx, &all); err != nil {
		return since, g.store.explain(err)
	}
	next = since
	for _, stored := range all {
		next = max(next, stored.WrittenAt)
		sign := stored.sign()
		g.mu.Lock()
		isNews := sign.Newer(g.known[stored.Point])
		if isNews {
			g.known[stored.Point] = sign
		}
		g.mu.Unlock()
		if isNews {
			heard(stored.Point, sign)
		}
	}
	return next, nil
}
