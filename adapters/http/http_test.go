package http_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"evcharging/adapters/http"
	"evcharging/application/eventlog"
	"evcharging/application/network"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const instant = domain.UnixMillis(1_800_000_000_123)

// central is a Central that the pages show.
type central struct {
	points []network.Point
	prices []network.PriceChange // of CP-001
	open   []network.Session
	closed []network.Session
	lines  []string
	// broken is where the log breaks off; negative: nowhere.
	broken int
	// held, where it is not nil, is waited for after each line; ended gets the end of it.
	held  chan struct{}
	ended chan error
}

func (c central) Points() []network.Point                    { return c.points }
func (c central) Sessions() (open, closed []network.Session) { return c.open, c.closed }

func (c central) Prices(_ context.Context, id domain.PointID) ([]network.PriceChange, error) {
	switch id {
	case "damaged":
		return nil, errLog
	case "CP-001":
		return c.prices, nil
	}
	return nil, nil
}

var errLog = errors.New("the event log is damaged")

func (c central) Session(_ context.Context, id domain.SessionID) (network.Session, bool, error) {
	if id == "damaged" {
		return network.Session{}, false, errLog
	}
	for _, s := range append(c.open[:len(c.open):len(c.open)], c.closed...) {
		if s.ID == id {
			return s, true, nil
		}
	}
	return network.Session{}, false, nil
}

func (c central) Log(ctx context.Context, from eventlog.Position, to io.Writer) error {
	for i := max(int(from), 1) - 1; i < len(c.lines); i++ {
		if i == c.broken {
			if i > 0 {
				fmt.Fprintln(to, errLog)
			}
			return errLog
		}
		if _, err := fmt.Fprintln(to, c.lines[i]); err != nil {
			return err
		}
		if c.held != nil {
			select {
			case <-c.held:
			case <-ctx.Done():
				c.ended <- ctx.Err()
				return ctx.Err()
			}
		}
	}
	return nil
}

var (
	running = network.Session{
		ID: "s-1", Point: "CP-001", Driver: "D-7", Status: session.Supplying, Price: 300_000, Power: 7_400, Energy: 1_234_567, Amount: 370_370,
		GrantedAt: instant, StartedAt: instant.Add(time.Second),
	}
	over = network.Session{
		ID: "s-0", Point: "CP-001", Driver: "D-7", Status: session.Closed, Price: 1_000_000_000, Energy: 9_000_000_000, Amount: 9_000_000_000_000,
		GrantedAt: instant, StartedAt: instant.Add(time.Second), Cause: session.CauseFault,
		Ticket: &session.Ticket{
			ID: "t-1", Revision: 1, StartedAt: instant, EndedAt: instant.Add(time.Minute), Energy: 9_000_000_000, Price: 1_000_000_000,
			Amount: 9_000_000_000_000, Reason: "KO",
		},
	}
	revised = func() network.Session {
		first := *over.Ticket
		first.Revision, first.EndedAt, first.Energy, first.Amount = 0, instant.Add(50*time.Second), 8_999_000_000, 8_999_000_000_000
		s := over
		s.ID, s.Revisions = "s-2", []session.Revision{{Before: first, After: *over.Ticket, Reason: "RECOVERED", At: instant.Add(time.Hour)}}
		return s
	}()
	odd = network.Session{ID: "a/b?c#d e", Point: "CP-001", Driver: "D-7", Status: session.Authorized, Price: 1, GrantedAt: instant}
)

// busy is a Central with a supply, and one that is over.
func busy() central {
	return central{
		points: []network.Point{
			{ID: "CP-001", Location: "C/ <Sant> Nicolau", Price: 300_000, State: chargingpoint.Supplying, Since: instant, UpdatedAt: instant, Supply: &running},
			{ID: "CP-002", Location: "N/A", Price: 1, PriceSet: true, State: chargingpoint.Disconnected, NotHeard: true},
			{ID: "CP-003", Location: "Alcoy", State: network.Unreadable, Since: instant},
		},
		open: []network.Session{running, odd}, closed: []network.Session{over, revised}, broken: -1,
		prices: []network.PriceChange{
			{Kind: network.PriceOwn, DecidedAt: instant, From: instant, Price: 300_000, Covered: true},
			{Kind: network.PriceSet, By: "ops@host", DecidedAt: instant, From: instant.Add(time.Hour), Price: 0, ReplacedAt: instant.Add(time.Minute)},
			{Kind: network.PriceAuto, By: "ops@host", DecidedAt: instant.Add(time.Minute), From: instant.Add(time.Minute)},
		},
	}
}

// of is what a program serves that is well and has pages.
func of(c central) http.Config {
	return http.Config{
		Address: "127.0.0.1:0",
		Live:    func() error { return nil },
		Ready:   func(context.Context) error { return nil },
		Metrics: nethttp.NotFoundHandler(),
		Source:  func() http.Source { return c },
	}
}

// serve serves a Central and gives its address.
func serve(t *testing.T, c central) string {
	t.Helper()
	return serveConfig(t, of(c))
}

func serveConfig(t *testing.T, c http.Config) string {
	t.Helper()
	s, err := http.Serve(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nethttp.DefaultClient.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s.Addr()
}

// get asks for a page.
func get(t *testing.T, method, address, page string) (status int, kind, body string, err error) {
	t.Helper()
	request, err := nethttp.NewRequestWithContext(t.Context(), method, "http://"+address+page, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := nethttp.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, response.Header.Get("Content-Type"), string(text), err
}

const (
	pageOfPoint = `{
  "id": "CP-001",
  "location": "C/ <Sant> Nicolau",
  "price": 0.3,
  "state": "SUPPLYING",
  "since": "2027-01-15T08:00:00.123Z",
  "updated_at": "2027-01-15T08:00:00.123Z",
  "supply": {
    "id": "s-1",
    "cp_id": "CP-001",
    "driver_id": "D-7",
    "status": "SUPPLYING",
    "price": 0.3,
    "kw": 7.4,
    "total_kwh": 1.234567,
    "total_eur": 0.37037,
    "granted_at": "2027-01-15T08:00:00.123Z",
    "started_at": "2027-01-15T08:00:01.123Z"
  }
}`
	pageOfUnreadable = `{
  "id": "CP-003",
  "location": "Alcoy",
  "price": null,
  "state": "UNREADABLE",
  "since": "2027-01-15T08:00:00.123Z"
}`
	pageOfSession = `{
  "id": "s-0",
  "cp_id": "CP-001",
  "driver_id": "D-7",
  "status": "CLOSED",
  "price": 1000,
  "kw": 0,
  "total_kwh": 9000,
  "total_eur": 9000000,
  "granted_at": "2027-01-15T08:00:00.123Z",
  "started_at": "2027-01-15T08:00:01.123Z",
  "cause": "KO",
  "ticket": {
    "ticket_id": "t-1",
    "revision": 1,
    "started_at": "2027-01-15T08:00:00.123Z",
    "ended_at": "2027-01-15T08:01:00.123Z",
    "total_kwh": 9000,
    "price": 1000,
    "total_eur": 9000000,
    "reason": "KO"
  }
}`
	revisionsOfSession = `,
  "revisions": [
    {
      "revised_at": "2027-01-15T09:00:00.123Z",
      "reason": "RECOVERED",
      "before": {
        "ticket_id": "t-1",
        "revision": 0,
        "started_at": "2027-01-15T08:00:00.123Z",
        "ended_at": "2027-01-15T08:00:50.123Z",
        "total_kwh": 8999,
        "price": 1000,
        "total_eur": 8999000,
        "reason": "KO"
      },
      "after": {
        "ticket_id": "t-1",
        "revision": 1,
        "started_at": "2027-01-15T08:00:00.123Z",
        "ended_at": "2027-01-15T08:01:00.123Z",
        "total_kwh": 9000,
        "price": 1000,
        "total_eur": 9000000,
        "reason": "KO"
      },
      "eur_difference": 1000
    }
  ]
}`
	pageOfPrices = `[
  {
    "kind": "own",
    "decided_at": "2027-01-15T08:00:00.123Z",
    "from": "2027-01-15T08:00:00.123Z",
    "price": 0.3,
    "covered": true
  },
  {
    "kind": "set",
    "by": "ops@host",
    "decided_at": "2027-01-15T08:00:00.123Z",
    "from": "2027-01-15T09:00:00.123Z",
    "price": 0,
    "replaced_at": "2027-01-15T08:01:00.123Z"
  },
  {
    "kind": "auto",
    "by": "ops@host",
    "decided_at": "2027-01-15T08:01:00.123Z",
    "from": "2027-01-15T08:01:00.123Z",
    "price": null
  }
]`
)

func TestThePages(t *testing.T) {
	address := serve(t, busy())
	for page, want := range map[string]struct {
		status int
		kind   string
		body   string
	}{
		"/points/CP-001":         {200, "application/json", pageOfPoint},
		"/points/CP-003":         {200, "application/json", pageOfUnreadable},
		"/points/CP-009":         {404, "text/plain; charset=utf-8", "no such point"},
		"/points/CP-001/prices":  {200, "application/json", pageOfPrices},
		"/points/CP-009/prices":  {404, "text/plain; charset=utf-8", "no such point"},
		"/points/damaged/prices": {500, "text/plain; charset=utf-8", errLog.Error()},
		"/sessions/s-2":          {200, "application/json", strings.TrimSuffix(strings.Replace(pageOfSession, "s-0", "s-2", 1), "\n}") + revisionsOfSession},
		"/sessions/s-0":          {200, "application/json", pageOfSession},
		"/sessions/s-9":          {404, "text/plain; charset=utf-8", "no such session"},
		"/sessions/damaged":      {500, "text/plain; charset=utf-8", errLog.Error()},
		"/log?from=x":            {400, "text/plain; charset=utf-8", "from is the position of a commit: a whole number from 1"},
		"/log?from=-1":           {400, "text/plain; charset=utf-8", "from is the position of a commit: a whole number from 1"},
		"/log?from=1":            {200, "application/jsonl", ""},
		"/coffee":                {404, "text/plain; charset=utf-8", "404 page not found"},
		"/":                      {404, "text/plain; charset=utf-8", "404 page not found"},
		"/sessions/s-0/extra":    {404, "text/plain; charset=utf-8", "404 page not found"},
	} {
		t.Run(page, func(t *testing.T) {
			status, kind, body, err := get(t, "GET", address, page)
			if err != nil || status != want.status || kind != want.kind || strings.TrimSuffix(body, "\n") != want.body {
				t.Errorf("%d %s (%v)\n%s\nwant %d %s\n%s", status, kind, err, body, want.status, want.kind, want.body)
			}
		})
	}
}

func TestThePagesAreToBeReadOnly(t *testing.T) {
	address := serve(t, busy())
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
		for _, page := range []string{"/points", "/points/CP-001", "/points/CP-001/prices", "/sessions", "/sessions/s-0", "/log", "/livez", "/readyz"} {
			if status, _, _, _ := get(t, method, address, page); status != nethttp.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d", method, page, status)
			}
		}
	}
}

func TestAnEmptyNetworkIsAnEmptyList(t *testing.T) {
	address := serve(t, central{broken: -1})
	for _, page := range []string{"/points", "/sessions"} {
		if _, _, body, _ := get(t, "GET", address, page); strings.TrimSpace(body) != "[]" {
			t.Errorf("%s: %s", page, body)
		}
	}
}

func lines(from, to int) (all []string) {
	for i := from; i <= to; i++ {
		all = append(all, fmt.Sprintf(`{"position":%d}`, i))
	}
	return all
}

func TestTheLogFromAPosition(t *testing.T) {
	const last = 10_000
	c := busy()
	c.lines = lines(1, last)
	address := serve(t, c)
	for query, first := range map[string]int{"": 1, "?from=": 1, "?from=0": 1, "?from=1": 1, "?from=9998": 9_998, "?from=10001": last + 1} {
		_, _, body, err := get(t, "GET", address, "/log"+query)
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		for _, line := range lines(first, last) {
			want += line + "\n"
		}
		if body != want {
			t.Errorf("/log%s: %d bytes, want %d", query, len(body), len(want))
		}
	}
}

func TestALogThatBreaksOffIsNotTakenForWhole(t *testing.T) {
	for _, broken := range []int{0, 1, 9_000} {
		c := busy()
		c.lines, c.broken = lines(1, 10_000), broken
		response, err := nethttp.Get("http://" + serve(t, c) + "/log")
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if (err == nil) != (broken == 0) || (response.StatusCode == nethttp.StatusOK) != (broken > 0) {
			t.Errorf("broken at %d: the client took it for whole: %s, %v", broken, response.Status, err)
		}
		if !strings.HasSuffix(string(text), errLog.Error()+"\n") {
			t.Errorf("broken at %d: the client does not learn why", broken)
		}
	}
}

// held is a Central whose log stands still after its first line.
func held() central {
	c := busy()
	c.lines, c.held, c.ended = []string{strings.Repeat("x", 1<<16), "y"}, make(chan struct{}), make(chan error, 1)
	return c
}

func TestAReaderThatLeavesEndsItsReading(t *testing.T) {
	c := held()
	connection, err := net.Dial("tcp", serve(t, c))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(connection, "GET /log HTTP/1.1\r\nHost: central\r\n\r\n")
	if _, err := bufio.NewReader(connection).ReadString('x'); err != nil {
		t.Fatal(err)
	}
	if err := connection.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-c.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the reading ended with %v", err)
	}
}

func TestCloseWaitsNoLongerThanItIsTold(t *testing.T) {
	c := held()
	s, err := http.Serve(of(c))
	if err != nil {
		t.Fatal(err)
	}
	response, err := nethttp.Get("http://" + s.Addr() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("closed with %v", err)
	}
	if err := <-c.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the reading ended with %v", err)
	}
	if _, err := io.Copy(io.Discard, response.Body); err == nil {
		t.Error("the client took it for whole")
	}
}

func TestAnAddressThatIsTaken(t *testing.T) {
	taken := of(busy())
	taken.Address = serve(t, busy())
	if s, err := http.Serve(taken); err == nil || !strings.Contains(err.Error(), "--http") {
		t.Errorf("served on %v (%v)", s, err)
	}
}

func TestTheClientReadsThePages(t *testing.T) {
	c := busy()
	client := http.Client{Address: serve(t, c)}
	points, err := client.Points(t.Context())
	if err != nil || !reflect.DeepEqual(points, c.points) {
		t.Errorf("points\n%+v (%v), want\n%+v", points, err, c.points)
	}
	prices, err := client.Prices(t.Context(), "CP-001")
	if err != nil || !reflect.DeepEqual(prices, c.prices) {
		t.Errorf("prices\n%+v (%v), want\n%+v", prices, err, c.prices)
	}
	sessions, err := client.Sessions(t.Context())
	if want := []network.Session{running, odd, over, revised}; err != nil || !reflect.DeepEqual(sessions, want) {
		t.Errorf("sessions\n%+v (%v), want\n%+v", sessions, err, want)
	}
	for _, want := range []network.Session{running, odd, over, revised} {
		if s, err := client.Session(t.Context(), want.ID); err != nil || !reflect.DeepEqual(s, want) {
			t.Errorf("session %s\n%+v (%v), want\n%+v", want.ID, s, err, want)
		}
	}
	for id, want := range map[domain.SessionID]string{"s-9": "no such session", "damaged": errLog.Error(), "": "404"} {
		if _, err := client.Session(t.Context(), id); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("session %s: %v", id, err)
		}
	}
}

func TestTheClientSaysWhatIsWrong(t *testing.T) {
	t.Run("nobody listens", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := (http.Client{Address: listener.Addr().String()}).Points(t.Context()); err == nil || !strings.Contains(err.Error(), "is it running") {
			t.Errorf("%v", err)
		}
	})
	for name, page := range map[string]string{
		"it is no Central":   "<html>",
		"a figure is a text": `[{"id":"CP-1","price":"0.3"}]`,
		"a time is none":     `[{"id":"CP-1","updated_at":"noon"}]`,
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server := &nethttp.Server{Handler: nethttp.HandlerFunc(func(w nethttp.ResponseWriter, _ *nethttp.Request) { fmt.Fprint(w, page) })}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = server.Serve(listener)
			}()
			defer func() {
				nethttp.DefaultClient.CloseIdleConnections()
				_ = server.Close()
				<-ended
			}()
			if _, err := (http.Client{Address: listener.Addr().String()}).Points(t.Context()); err == nil || !strings.Contains(err.Error(), "understand") {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("no address", func(t *testing.T) {
		if _, err := (http.Client{Address: "no address"}).Points(t.Context()); err == nil {
			t.Error("asked nobody and got an answer")
		}
	})
}
