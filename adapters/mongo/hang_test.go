package mongo

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

func TestAServerThatHangsIsNoticedAndWaitedForSoLongOnly(t *testing.T) {
	server(t)
	uri := database(t)
	l := newLine(t, hostOf(t, uri))
	const patience = 2 * time.Second
	s := connectWith(t, Config{URI: l.uri(uri), Logger: slog.New(slog.DiscardHandler), patience: patience})
	log := s.Log()
	b := eventlogtest.NewBuilder("ev.health")
	first := b.Commit(b.Cause(), eventlogtest.Lifecycle("point-1", `1`))
	if err := log.Append(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, func() bool { return s.Unanswered() == 0 })

	l.Freeze()
	second := b.Commit(b.Cause(), eventlogtest.Lifecycle("point-1", `2`))
	for name, ask := range map[string]func(context.Context) error{
		"Append": func(ctx context.Context) error { return log.Append(ctx, second) },
		"Head":   func(ctx context.Context) error { _, err := log.Head(ctx, "point-1"); return err },
		"Read": func(ctx context.Context) error {
			for _, err := range log.Read(ctx, "point-1", 0) {
				return err
			}
			return nil
		},
		"Rehydrate": func(ctx context.Context) error { _, err := log.Rehydrate(ctx, "point-1"); return err },
		"ByCause":   func(ctx context.Context) error { _, _, err := log.ByCause(ctx, first.Cause); return err },
		"Open":      func(ctx context.Context) error { _, err := log.Open(ctx); return err },
		"End":       func(ctx context.Context) error { _, err := log.End(ctx); return err },
		"Ping":      s.Ping,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			err := ask(t.Context())
			if !errors.Is(err, ErrUnreachable) {
				t.Errorf("%v, want ErrUnreachable", err)
			}
			if took := time.Since(began); took > 5*patience {
				t.Errorf("it took %s", took)
			}
		})
	}
	t.Run("Unanswered", func(t *testing.T) {
		t.Parallel()
		waitUntil(t, func() bool { return s.Unanswered() > patience/4 })
	})
	t.Cleanup(func() {
		// when it goes on, all is as it should be
		l.Thaw()
		waitUntil(t, func() bool {
			err := log.Append(context.Background(), second)
			var stored *eventlog.CauseStoredError
			return err == nil || errors.As(err, &stored)
		})
		waitUntil(t, func() bool { return s.Unanswered() == 0 })
	})
}
