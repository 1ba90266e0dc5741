package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"evcharging/adapters/broker"
	"evcharging/adapters/console"
	"evcharging/adapters/kafka"
	"evcharging/cmd/internal/central"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
	"evcharging/domain/session"
)

// The ports of a network; where one is taken, a free one is used and said.
const (
	brokerPort = 9092
	authPort   = 7000
	pagesPort  = 7080
	enginePort = 7100 // of the first point; the others' follow
)

func start(ctx context.Context, p *program.Process, r run, level slog.Level) (err error) {
	screen := console.Console{In: p.Stdin, Out: p.Stdout, Environ: os.Environ()}
	logger := central.NewLogger(p, level, screen)
	temporary := r.Data == ""
	if temporary {
		if r.Data, err = os.MkdirTemp("", "evcharging-"); err != nil {
			return fmt.Errorf("make a temporary folder (--data DIR names one that stays): %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(r.Data)) }()
	}
	embedded, err := startBroker(r, logger.Logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, embedded.Close()) }()

	config := kafka.Config{Brokers: []string{embedded.Addr()}, ClientID: "evcharging", Logger: logger.Logger}
	ofCentral := central.Config{
		Kafka: config, LogDir: filepath.Join(r.Data, "log"), Checkpoints: filepath.Join(r.Data, "checkpoints"),
		Listen: freeAddress(r.Host, authPort), HTTP: freeAddress(r.Host, pagesPort),
		Patience: session.DefaultPatience, DefaultPrice: defaultPrice, Logger: logger.Logger,
	}
	node, err := central.Start(ctx, ofCentral)
	if errors.Is(err, syscall.EADDRINUSE) { // somebody was quicker
		ofCentral.Listen, ofCentral.HTTP = net.JoinHostPort(r.Host, "0"), net.JoinHostPort(r.Host, "0")
		node, err = central.Start(ctx, ofCentral)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	logger.Turn(node)
	defer logger.Turn(nil)
	if temporary {
		logger.Warn("the network lives in a temporary folder and is gone at the end; --data DIR keeps it", "folder", r.Data)
	}
	logger.Warn("the network is open: every point is let in")
	logger.Info("the network runs", "broker", embedded.Addr(), "central", node.AuthAddr(), "pages", "http://"+node.HTTPAddr())

	points, err := newPoints(ctx, r, config, node, logger.Logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, points.Close()) }()
	drivers, err := newDrivers(ctx, config, node, logger.Logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, drivers.Close()) }()

	// A thousand points take their time: whoever waits sees them come.
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var starting sync.WaitGroup
	defer starting.Wait()
	defer points.stop()
	drivers.start(r.Drivers)
	starting.Go(func() {
		if err := points.start(); err != nil {
			fail(err)
		}
	})
	screen.Source = node.Look()
	screen.Commands = append(node.Commands(), append(points.commands(), drivers.commands()...)...)
	err = node.Serve(ctx, screen)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = errors.Join(err, cause)
	}
	return err
}

// defaultPrice is that of a point from elsewhere that registers without one.
const defaultPrice domain.MicroEurosPerKWh = 300_000

func startBroker(r run, logger *slog.Logger) (*broker.Broker, error) {
	config := broker.Config{Addr: net.JoinHostPort(r.Host, strconv.Itoa(brokerPort)), AdvertisedHost: r.Host, Dir: filepath.Join(r.Data, "broker"), Logger: logger}
	b, err := broker.Start(config)
	if errors.Is(err, broker.ErrPortTaken) {
		config.Addr = net.JoinHostPort(r.Host, "0")
		b, err = broker.Start(config)
	}
	return b, err
}

// freeAddress is an address of the host with the port, or with any that is free where that one is taken.
func freeAddress(host string, port int) string {
	address := net.JoinHostPort(host, strconv.Itoa(port))
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return net.JoinHostPort(host, "0")
	}
	_ = listener.Close()
	return address
}

// ports is a line of addresses: those that follow one another are one range.
func ports(addresses []string) string {
	var ranges []string
	next := 0
	for i, address := range addresses {
		_, text, _ := net.SplitHostPort(address)
		port, _ := strconv.Atoi(text)
		if i > 0 && port == next {
			last := len(ranges) - 1
			first, _, _ := strings.Cut(ranges[last], " to ")
			ranges[last] = first + " to " + address
		} else {
			ranges = append(ranges, address)
		}
		next = port + 1
	}
	return strings.Join(ranges, ", ")
}
