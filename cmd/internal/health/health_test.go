package health

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"evcharging/adapters/http"
	"evcharging/cmd/internal/program"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestALoopThatTurnsIsAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pulse
		time.Sleep(time.Hour)
		if err := p.Live(); err != nil {
			t.Errorf("a loop that has not begun: %v", err)
		}
		for range 100 {
			p.Beat()
			time.Sleep(longestPause)
			if err := p.Live(); err != nil {
				t.Fatalf("a slow loop: %v", err)
			}
		}
		time.Sleep(time.Second)
		if err := p.Live(); err == nil || !strings.Contains(err.Error(), "31s") {
			t.Errorf("a loop that hangs: %v", err)
		}
		p.Beat()
		if err := p.Live(); err != nil {
			t.Errorf("a loop that goes on: %v", err)
		}
	})
}

func TestAddress(t *testing.T) {
	for text, listen := range map[string]string{
		"127.0.0.1:7080": "127.0.0.1:7080", ":0": ":0", "[::1]:80": "[::1]:80", "off": "",
	} {
		var a Address
		if err := a.UnmarshalText([]byte(text)); err != nil || a.Listen() != listen {
			t.Errorf("%q is %q (%v), want %q", text, a.Listen(), err, listen)
		}
	}
	for _, text := range []string{"", "7080", "host", "host:", "host:http", "host:70000", "OFF"} {
		var a Address
		if err := a.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "host:port") {
			t.Errorf("%q is taken (%v)", text, err)
		}
	}
}

func TestCheck(t *testing.T) {
	broken := errors.New("waiting for the broker")
	var ready error
	server, err := Serve("127.0.0.1:0", "ev-test", &Pulse{}, func(context.Context) error { return ready })
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	at := Address(server.server.Addr())

	for name, test := range map[string]struct {
		check Check
		ready error
		out   string
		want  error
	}{
		"ready":                {out: "ready\n"},
		"not ready":            {ready: broken, want: http.ErrNotReady},
		"alive, and not ready": {check: Check{Live: true}, ready: broken, out: "alive\n"},
	} {
		t.Run(name, func(t *testing.T) {
			ready = test.ready
			var out bytes.Buffer
			err := test.check.Ask(t.Context(), &program.Process{Stdout: &out}, at)
			if !errors.Is(err, test.want) || out.String() != test.out {
				t.Errorf("%q, %v", out.String(), err)
			}
			if test.want != nil && !strings.Contains(err.Error(), broken.Error()) {
				t.Errorf("%v does not say why", err)
			}
		})
	}
	if err := (Check{}).Ask(t.Context(), &program.Process{}, Off); err == nil || !strings.Contains(err.Error(), "--http") {
		t.Errorf("without an address: %v", err)
	}
}

func TestNothingIsServedWithoutAnAddress(t *testing.T) {
	server, err := Serve("", "ev-test", &Pulse{}, nil)
	if err != nil || server != nil {
		t.Fatal(server, err)
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
}
