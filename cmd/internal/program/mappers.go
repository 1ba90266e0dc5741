package program

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"evcharging/adapters/kafka"
	"evcharging/domain"
)

// mappers say how the text of a flag becomes a value, for each type that flags have.
func mappers() []kong.Option {
	return []kong.Option{
		kong.TypeMapper(reflect.TypeFor[domain.PointID](), text(parseID[domain.PointID])),
		kong.TypeMapper(reflect.TypeFor[domain.DriverID](), text(parseID[domain.DriverID])),
		kong.TypeMapper(reflect.TypeFor[domain.MicroEurosPerKWh](), text(parsePrice)),
		kong.TypeMapper(reflect.TypeFor[domain.UnixMillis](), text(ParseInstant)),
		kong.TypeMapper(reflect.TypeFor[slog.Level](), text(parseLevel)),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), bounded(parseDuration, 0, 24*time.Hour)),
		kong.TypeMapper(reflect.TypeFor[int](), bounded(parseInt, 0, math.MaxInt32)),
		kong.TypeMapper(reflect.TypeFor[kafka.Mechanism](), text(parseMechanism)),
		kong.TypeMapper(reflect.TypeFor[Secret](), secretly(func(s string) (Secret, error) { return Secret{s}, nil })),
		kong.TypeMapper(reflect.TypeFor[MongoURI](), secretly(parseMongoURI)),
		kong.NamedMapper("addresses", kong.MapperFunc(decodeAddresses)),
	}
}

func text[T any](parse func(string) (T, error)) kong.Mapper {
	return kong.MapperFunc(func(ctx *kong.DecodeContext, target reflect.Value) error {
		var text string
		if err := ctx.Scan.PopValueInto("a", &text); err != nil {
			return err
		}
		value, err := parse(strings.TrimSpace(text))
		if err != nil {
			return err
		}
		target.Set(reflect.ValueOf(value))
		return nil
	})
}

// bounded is text with the bounds that the flag's tags min and max set, or these.
func bounded[T int | time.Duration](parse func(string) (T, error), low, high T) kong.Mapper {
	return kong.MapperFunc(func(ctx *kong.DecodeContext, target reflect.Value) error {
		low, high := low, high
		for tag, bound := range map[string]*T{"min": &low, "max": &high} {
			if s := ctx.Value.Tag.Get(tag); s != "" {
				b, err := parse(s)
				if err != nil {
					return fmt.Errorf("the tag %s: %w", tag, err)
				}
				*bound = b
			}
		}
		return text(func(s string) (T, error) {
			value, err := parse(s)
			if err == nil && (value < low || value > high) {
				err = fmt.Errorf("%v is not between %v and %v", value, low, high)
			}
			return value, err
		}).Decode(ctx, target)
	})
}

func parseID[T ~string](s string) (T, error) { return T(s), domain.CheckID(s) }

func parsePrice(s string) (domain.MicroEurosPerKWh, error) {
	price, err := domain.ParsePrice(s)
	if err != nil {
		return 0, fmt.Errorf("%w (a price is EUR per kWh, 0 to %s)", err, domain.MaxPrice)
	}
	return price, nil
}

func parseLevel(s string) (slog.Level, error) {
	switch strings.ToUpper(s) {
	case "DEBUG":
		return slog.LevelDebug, nil
	case "INFO":
		return slog.LevelInfo, nil
	case "WARN", "WARNING":
		return slog.LevelWarn, nil
	case "ERROR":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("%q is none of DEBUG, INFO, WARN and ERROR", s)
}

func parseMechanism(s string) (kafka.Mechanism, error) {
	switch m := kafka.Mechanism(strings.ToUpper(s)); m {
	case kafka.ScramSHA512, kafka.ScramSHA256, kafka.Plain:
		return m, nil
	}
	return "", fmt.Errorf("%q is none of %s, %s and %s", s, kafka.ScramSHA512, kafka.ScramSHA256, kafka.Plain)
}

func parseInt(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("%q is no whole number that a program can hold", s)
	}
	return n, nil
}

// parseDuration reads a number of seconds, or a length of time with its unit: 4, 0.5, 90s, 2m.
func parseDuration(s string) (time.Duration, error) {
	withUnit := s
	if strings.Trim(s, "-.0123456789") == "" {
		withUnit += "s"
	}
	d, err := time.ParseDuration(withUnit)
	if err != nil {
		return 0, fmt.Errorf("%q is no number of seconds, nor a length of time such as 90s or 2m", s)
	}
	return d, nil
}

func decodeAddresses(ctx *kong.DecodeContext, target reflect.Value) error {
	return text(func(s string) ([]string, error) {
		var addresses []string
		for address := range strings.SplitSeq(s, ",") {
			if address = strings.TrimSpace(address); address == "" {
				continue
			}
			if err := checkAddress(address); err != nil {
				return nil, err
			}
			addresses = append(addresses, address)
		}
		if len(addresses) == 0 {
			return nil, errors.New("there is no address in it")
		}
		return addresses, nil
	}).Decode(ctx, target)
}

func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	var broken *net.AddrError
	switch {
	case errors.As(err, &broken) && broken.Err == "missing port in address":
		return fmt.Errorf("%q has no port (an address is host:port)", address)
	case err != nil || host == "":
		return fmt.Errorf("%q is no address (an address is host:port)", address)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > math.MaxUint16 {
		return fmt.Errorf("%q has no port between 1 and %d", address, math.MaxUint16)
	}
	return nil
}
