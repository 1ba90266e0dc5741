package mongo

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"evcharging/application/eventlog"
)

const (
	// defaultDatabase is that of a URI without one.
	defaultDatabase = "evcharging_db"
	// patience is how long an operation waits for its answer.
	patience = 10 * time.Second
)

// Config says where the database is.
type Config struct {
	// URI is mongodb://… or mongodb+srv://…. Its path names the database, evcharging_db where
	// there is none. TLS is as its options say (tls, tlsCAFile, tlsCertificateKeyFile).
	URI string
	// Username and Password, where they are not empty, stand in place of the URI's: for
	// secrets from files.
	Username, Password string
	// Database, where it is not empty, stands in place of the URI's.
	Database string
	// MayBeEmpty has ConnectToRead take a database in which no network has anything.
	MayBeEmpty bool
	// Logger is told when the server goes and comes; slog.Default() where it is nil.
	Logger *slog.Logger
	// Network is the id that the network gets where the database has none yet, for a log that is
	// imported; a new one where it is uuid.Nil.
	Network uuid.UUID

	// What tests choose: see patience.
	patience time.Duration
}

// Store is a database of a network. It may be used from any number of goroutines.
type Store struct {
	client             *mongo.Client
	db                 *mongo.Database
	events, open, meta *mongo.Collection
	network, imported  uuid.UUID
	log                *Log
	logger             *slog.Logger
	// place is hosts and database, for people: nothing secret.
	place    string
	username string
	patience time.Duration
	// reads tells that nothing is written, mayBeEmpty that nothing has to be there.
	reads, mayBeEmpty bool
	// otherwise is the client's options with TLS where it has none, and without where it has.
	otherwise *options.ClientOptions
	health    *health
	closing   sync.Once
	closeErr  error
}

// Connect gives the store of a database, and makes what is missing there: collections,
// indexes, the network's id. While the server is away it waits, with growing pauses, and
// says so, until ctx ends (ErrUnreachable). What waiting doesn't mend is an error at once:
// ErrURI, ErrDenied, ErrTLS, ErrStandalone, ErrNewerSchema, ErrSchema. Whoever connects
// closes the store.
func Connect(ctx context.Context, c Config) (*Store, error) { return open(ctx, c, false) }

// ConnectToRead is Connect for whoever reads and nothing else: it makes nothing in the
// database, and a user who may only read may do it. ErrEmpty where no network has anything
// there.
func ConnectToRead(ctx context.Context, c Config) (*Store, error) { return open(ctx, c, true) }

func open(ctx context.Context, c Config, reads bool) (*Store, error) {
	s, err := newStore(c)
	if err != nil {
		return nil, err
	}
	s.reads, s.mayBeEmpty = reads, c.MayBeEmpty
	const first, longest = 250 * time.Millisecond, 5 * time.Second
	said := map[string]bool{} // causes may alternate
	for pause := first; ; pause = min(2*pause, longest) {
		err = s.prepare(ctx, min(8*pause, s.patience))
		if err == nil {
			if len(said) > 0 {
				s.logger.Info("MongoDB is reached", "at", s.place)
			}
			return s, nil
		}
		if !errors.Is(err, ErrUnreachable) {
			break
		}
		if text := err.Error(); !said[text] && ctx.Err() == nil {
			said[text] = true
			s.logger.Warn(text + "; trying again")
		}
		if !wait(ctx, pause) {
			break
		}
	}
	_ = s.Close()
	return nil, err
}

// wait waits, and tells whether ctx has not ended meanwhile.
func wait(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func newStore(c Config) (*Store, error) {
	address, err := parse(c)
	if err != nil {
		return nil, err
	}
	s := &Store{imported: c.Network, logger: cmp.Or(c.Logger, slog.Default()), patience: cmp.Or(c.patience, patience), health: newHealth()}
	o := options.Client().ApplyURI(address.uri)
	if err := o.Validate(); err != nil {
		return nil, notUnderstood(c.URI, err)
	}
	if address.username != "" {
		o.Auth.Username, o.Auth.Password = address.username, address.password
	}
	s.username = address.username
	s.place = strings.Join(o.Hosts, ",") + "/" + address.database
	// What could be rolled back must not be answered, and nothing is acknowledged that is not
	// on the disks of the majority.
	journaled := true
	o.SetWriteConcern(&writeconcern.WriteConcern{W: writeconcern.WCMajority, Journal: &journaled}).
		SetReadConcern(readconcern.Majority()).SetReadPreference(readpref.Primary()).
		SetTimeout(s.patience).SetConnectTimeout(s.patience / 2).
		SetMonitor(s.health.questions()).SetPoolMonitor(s.health.connections()).SetServerMonitor(s.health.servers())
	s.otherwise = options.Client().SetHosts(o.Hosts[:1]).SetDirect(true)
	if o.TLSConfig == nil {
		s.otherwise.SetTLSConfig(&tls.Config{InsecureSkipVerify: true})
	}
	if s.client, err = mongo.Connect(o); err != nil {
		return nil, notUnderstood(c.URI, err)
	}
	s.db = s.client.Database(address.database)
	s.events, s.open, s.meta = s.db.Collection(eventsCollection), s.db.Collection(openCollection), s.db.Collection(metaCollection)
	s.log = newLog(s)
	return s, nil
}

// quoted is what the driver quotes of a URI.
var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// notUnderstood is ErrURI with the driver's reason, without what it quotes of the URI but for
// the names of options: it may be a password in the wrong place.
func notUnderstood(uri string, reason error) error {
	_, query, _ := strings.Cut(uri, "?")
	return fmt.Errorf("%w: %s", ErrURI, quoted.ReplaceAllStringFunc(reason.Error(), func(text string) string {
		for option := range strings.SplitSeq(query, "&") {
			if name, _, _ := strings.Cut(option, "="); text == strconv.Quote(name) {
				return text
			}
		}
		return `"…"`
	}))
}

// Close ends all that is under way. It may be called again.
func (s *Store) Close() error {
	s.closing.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		s.closeErr = s.client.Disconnect(ctx)
	})
	return s.closeErr
}

// bound bounds an operation.
func (s *Store) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.patience)
}

// NetworkID is the id of the network whose database this is. It was made with the
// database and never changes.
func (s *Store) NetworkID() uuid.UUID { return s.network }

// Has tells whether an event log is that of this database.
func (s *Store) Has(log eventlog.Log) bool {
	l, ok := log.(*Log)
	return ok && l.store.place == s.place
}

// DatabaseName is the database that a configuration names. ErrURI where it can't be understood.
func (c Config) DatabaseName() (string, error) {
	a, err := parse(c)
	return a.database, err
}

// Ping is nil where the server answers and can be written to, else why it does not.
func (s *Store) Ping(ctx context.Context) error {
	return s.explain(s.client.Ping(ctx, readpref.Primary()))
}

// address is a URI taken apart.
type address struct {
	// uri has "user" and "secret" in place of name and password, so that no error tells them.
	uri                          string
	database, username, password string
}

// parse takes the URI apart.
func parse(c Config) (address, error) {
	a := address{username: c.Username, password: c.Password}
	scheme, rest, ok := strings.Cut(c.URI, "://")
	if !ok || (scheme != "mongodb" && scheme != "mongodb+srv") {
		return a, fmt.Errorf("%w: it begins with mongodb:// or mongodb+srv://", ErrURI)
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		user, password, _ := strings.Cut(rest[:i], ":")
		if strings.ContainsAny(rest[:i], "/?#[]@") || strings.Contains(password, ":") {
			return a, fmt.Errorf("%w: a character before its @ has to be percent-encoded (give name and password apart from the URI, then nothing has to)", ErrURI)
		}
		rest = rest[i+1:]
		for _, text := range []*string{&user, &password} {
			plain, err := url.PathUnescape(*text)
			if err != nil {
				return a, fmt.Errorf("%w: a %% before its @ is none of a percent-encoded character", ErrURI)
			}
			*text = plain
		}
		a.username, a.password = cmp.Or(a.username, user), cmp.Or(a.password, password)
	}
	hosts, query, _ := strings.Cut(rest, "?")
	hosts, database, _ := strings.Cut(hosts, "/")
	database, err := url.PathUnescape(database)
	if err != nil {
		return a, fmt.Errorf("%w: a %% in its path is none of a percent-encoded character", ErrURI)
	}
	a.database = cmp.Or(c.Database, database, defaultDatabase)
	a.uri = scheme + "://"
	if a.username != "" {
		a.uri += "user"
		if a.password != "" {
			a.uri += ":secret"
		}
		a.uri += "@"
	}
	a.uri += hosts + "/" + url.PathEscape(database)
	if query != "" {
		a.uri += "?" + query
	}
	return a, nil
}

// prepare makes what is missing in the database, and looks whether it is one to work with.
func (s *Store) prepare(ctx context.Context, limit time.Duration) error {
	asking, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	asking, end := context.WithCancelCause(asking)
	defer end(nil)
	defer s.health.notify(end)()
	err := s.replicated(asking)
	if errors.Is(err, ErrUnreachable) && s.health.closed() {
		err = cmp.Or(s.mismatched(ctx), err)
	}
	if err != nil {
		return err
	}
	if s.reads {
		return s.inspect(ctx)
	}
	return s.migrate(ctx)
}

// mismatched is ErrTLS where the server speaks TLS and the URI does not ask for it, or the
// other way round: each closes the other's connections without a word.
func (s *Store) mismatched(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	client, err := mongo.Connect(s.otherwise)
	if err != nil {
		return nil
	}
	defer func() { _ = client.Disconnect(ctx) }()
	switch err = client.Database("admin").RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Err(); {
	case err != nil:
		return nil
	case s.otherwise.TLSConfig != nil:
		return fmt.Errorf("%w at %s: the server wants it, so the URI has to have the option tls=true", ErrTLS, s.place)
	}
	return fmt.Errorf("%w at %s: the server has none, so the URI may not have the option tls=true", ErrTLS, s.place)
}

// replicated is ErrStandalone where the server is a single one.
func (s *Store) replicated(ctx context.Context) error {
	var hello struct {
		SetName string `bson:"setName"`
		Message string `bson:"msg"`
	}
	if err := s.client.Database("admin").RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello); err != nil {
		return s.explain(cmp.Or(fatal(context.Cause(ctx)), err))
	}
	if hello.SetName == "" && hello.Message != "isdbgrid" {
		return fmt.Errorf("%w: %s", ErrStandalone, s.place)
	}
	return nil
}
