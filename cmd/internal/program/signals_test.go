package program

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestAStopIsBounded(t *testing.T) {
	broken := errors.New("it broke")
	tests := map[string]struct {
		// takes is how long the program takes to stop once its context has ended.
		takes   time.Duration
		result  error
		signals []time.Duration
		want    error
		after   time.Duration
	}{
		"stops in time":              {takes: 9 * time.Second, result: context.Canceled, signals: []time.Duration{time.Minute}, after: 69 * time.Second},
		"fails to stop":              {takes: time.Second, result: broken, signals: []time.Duration{time.Minute}, want: broken, after: 61 * time.Second},
		"takes too long":             {takes: time.Hour, signals: []time.Duration{time.Minute}, want: errTooSlow, after: 70 * time.Second},
		"a second signal cuts off":   {takes: time.Hour, signals: []time.Duration{time.Minute, 61 * time.Second}, want: errCutOff, after: 61 * time.Second},
		"soon, too":                  {takes: time.Hour, signals: []time.Duration{time.Minute, time.Minute + 100*time.Millisecond}, want: errCutOff, after: time.Minute + 100*time.Millisecond},
		"process and its group":      {takes: 9 * time.Second, result: context.Canceled, signals: []time.Duration{time.Minute, time.Minute + time.Millisecond}, after: 69 * time.Second},
		"quick, and signalled twice": {takes: time.Millisecond, result: context.Canceled, signals: []time.Duration{time.Minute, time.Minute}, after: time.Minute + time.Millisecond},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, signals, over := time.Now(), make(chan os.Signal, 2), make(chan struct{})
				defer close(over)
				for _, at := range test.signals {
					time.AfterFunc(at, func() { signals <- syscall.SIGTERM })
				}
				err := untilSignalled(signals, func(ctx context.Context) error {
					<-ctx.Done()
					select {
					case <-time.After(test.takes):
					case <-over:
					}
					return test.result
				})
				if !errors.Is(err, test.want) || time.Since(start) != test.after {
					t.Errorf("got %v after %s, want %v after %s", err, time.Since(start), test.want, test.after)
				}
			})
		})
	}
}
