package mongo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"go.mongodb.org/mongo-driver/v2/mongo"
)

// What is wrong with a database. The error that is one of these says in a sentence what
// to do.
var (
	// ErrURI tells of a URI that can't be understood.
	ErrURI = errors.New("the MongoDB URI can't be understood")
	// ErrUnreachable tells that no server of the set answers that can be written to. It may
	// pass.
	ErrUnreachable = errors.New("MongoDB can't be reached")
	// ErrDenied tells of a name and password that the server does not know, or that may not
	// do what has to be done.
	ErrDenied = errors.New("MongoDB denies access")
	// ErrTLS tells of two sides that can't agree on TLS.
	ErrTLS = errors.New("no TLS connection to MongoDB")
	// ErrStandalone tells of a server that is no replica set: it has neither majorities nor
	// change streams.
	ErrStandalone = errors.New("MongoDB is no replica set: start it with --replSet and run rs.initiate() once, one server is enough")
	// ErrNewerSchema tells of a database that a newer program has written to.
	ErrNewerSchema = errors.New("a newer program has written to this database: update this one")
	// ErrEmpty tells of a database that is to be read, and that no program of ours has written to.
	ErrEmpty = errors.New("no network has anything in this database")
	// ErrSchema tells of a database that is not as this program makes it.
	ErrSchema = errors.New("the database is not as it should be")
)

// errNoAnswer tells that an operation took too long.
var errNoAnswer = errors.New("no answer in time")

// explain gives an error of the driver as a sentence for people, with what it is.
func (s *Store) explain(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	var server mongo.ServerError
	var network net.Error
	switch denied := new(mongo.CommandError); {
	case errors.Is(err, ErrDenied) || errors.Is(err, ErrTLS) || errors.Is(err, ErrUnreachable):
		return err
	case errors.As(err, denied) && (denied.Code == 18 || denied.Code == 13):
		return s.denied(denied.Message)
	case strings.Contains(err.Error(), "auth error"):
		return s.denied("")
	case fatal(err) != nil:
		return fmt.Errorf("%w at %s: %w", ErrTLS, s.place, err)
	case errors.As(err, &server) && !mongo.IsNetworkError(err) && !mongo.IsTimeout(err):
		return fmt.Errorf("MongoDB at %s refuses: %w", s.place, err)
	case mongo.IsNetworkError(err), mongo.IsTimeout(err), errors.As(err, &network), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w at %s: %s", ErrUnreachable, s.place, s.health.reason(err))
	}
	return fmt.Errorf("MongoDB at %s: %w", s.place, err)
}

func (s *Store) denied(message string) error {
	switch {
	case s.username == "":
		return fmt.Errorf("%w at %s: it wants a user name and a password", ErrDenied, s.place)
	case message == "" || strings.Contains(strings.ToLower(message), "authentication failed"):
		return fmt.Errorf("%w at %s: user name %s or its password is wrong, or is known in another authSource", ErrDenied, s.place, s.username)
	}
	return fmt.Errorf("%w at %s to %s: %s", ErrDenied, s.place, s.username, message)
}

// fatal is the error where it is one of TLS, which waiting does not mend; else nil.
func fatal(err error) error {
	var (
		verification *tls.CertificateVerificationError
		authority    x509.UnknownAuthorityError
		hostname     x509.HostnameError
		invalid      x509.CertificateInvalidError
		record       tls.RecordHeaderError
		alert        tls.AlertError
	)
	if errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &hostname) ||
		errors.As(err, &invalid) || errors.As(err, &record) || errors.As(err, &alert) {
		return err
	}
	return nil
}
