package console

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"evcharging/application/eventlog"
	"evcharging/application/network"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

var update = flag.Bool("update", false, "write the golden files anew")

// noon is when the made-up network is looked at.
var noon = domain.At(time.Date(2025, 11, 23, 12, 0, 0, 0, time.UTC))

// fake is a network that is made up. It is not safe for use from several goroutines.
type fake struct {
	*network.Network
	t        testing.TB
	status   Status
	versions map[eventlog.Stream]eventlog.Version
	now      domain.UnixMillis
	looks    int
	changed  uint64 // of the status
}

func newFake(t testing.TB) *fake {
	return &fake{
		Network: network.New(), t: t, versions: map[eventlog.Stream]eventlog.Version{}, now: noon.Add(-time.Hour),
		status: Status{Network: "andalucia", Broker: "127.0.0.1:9092", Now: noon},
	}
}

func (f *fake) Changed() uint64 { return f.Network.Changed() + f.changed }

func (f *fake) Snapshot(w network.Window) network.Snapshot {
	f.looks++
	return f.Network.Snapshot(w)
}

func (f *fake) Status() Status { return f.status }

func (f *fake) apply(stream string, events ...any) *fake {
	f.t.Helper()
	s := eventlog.Stream(stream)
	if err := f.Apply(s, f.versions[s]+1, f.now, events...); err != nil {
		f.t.Fatal(err)
	}
	f.versions[s] += eventlog.Version(len(events))
	return f
}

func (f *fake) ago(d time.Duration) *fake { f.now = noon.Add(-d); return f }

// point is one that is activated.
func (f *fake) point(id, location string, price domain.MicroEurosPerKWh) *fake {
	f.apply("point-"+id, chargingpoint.PointRegistered{Location: location, Price: price},
		chargingpoint.PointConnected{Lease: 15 * time.Second}, chargingpoint.FaultCleared{})
	f.Heard(domain.PointID(id), f.now)
	return f
}

func (f *fake) granted(point, driver string) *fake {
	p, _ := f.Point(domain.PointID(point))
	return f.
		apply("point-"+point, chargingpoint.PointOccupied{Session: domain.SessionID("s-" + point), Driver: domain.DriverID(driver)}).
		apply("session-s-"+point, session.SupplyAuthorized{Point: domain.PointID(point), Driver: domain.DriverID(driver), Price: p.Price})
}

func (f *fake) supplying(point, driver string, power domain.Watts, energy domain.MilliwattHours) *fake {
	return f.granted(point, driver).apply("session-s-"+point,
		session.SupplyStarted{At: f.now}, session.MeterValueRecorded{Energy: energy, Measured: energy, Power: power, At: f.now})
}

// aDay is a network with a point in each state, sessions in each, and messages.
func aDay(t testing.TB) *fake {
	f := newFake(t)
	f.point("CP-001", "Sevilla, Plaza Nueva", 300_000)
	f.point("CP-002", "Sevilla, Alameda", 300_000)
	f.point("CP-003", "Málaga, Muelle Uno", 450_000)
	f.point("CP-004", "Granada, Estación de Autobuses", 280_000)
	f.point("CP-005", "Cádiz, Puerta de Tierra", 320_000)
	f.point("CP-006", "Huelva, Casa Colón", 300_000)
	f.point("CP-007", "Jaén, Catedral", 250_000)
	f.point("CP-008", "Córdoba, Mezquita", 399_900)
	f.apply("point-CP-009", chargingpoint.PointRegistered{Location: "Almería, Puerto", Price: 300_000},
		chargingpoint.PointConnected{Lease: 15 * time.Second}, chargingpoint.FaultCleared{})
	f.ago(25*time.Minute).supplying("CP-003", "D-12", 43_000, 17_916_000)
	f.ago(12*time.Minute).supplying("CP-001", "D-7", 11_000, 2_200_000)
	f.ago(9*time.Minute).apply("point-CP-006", chargingpoint.FaultReported{})
	f.ago(6*time.Minute).supplying("CP-007", "D-31", 7_400, 740_000)
	f.ago(4*time.Minute).apply("point-CP-005", chargingpoint.TakenOutOfService{By: "operator"})
	f.ago(3*time.Minute).apply("point-CP-008", chargingpoint.PriceSet{Price: 420_000, By: "operator"})
	f.ago(2*time.Minute).apply("session-s-refused", session.SupplyRefused{Point: "CP-005", Driver: "D-9", Reason: "OUT_OF_ORDER"})
	f.ago(time.Minute).apply("session-s-CP-007", session.EndDecided{Cause: session.CauseStopped})
	f.ago(5*time.Second).granted("CP-004", "D-40")
	return f
}

// many is a network of so many points, every seventh of them supplying.
func many(t testing.TB, points int) *fake {
	f := newFake(t)
	for i := range points {
		id := fmt.Sprintf("CP-%04d", i+1)
		f.ago(time.Hour).point(id, "Sevilla, calle "+fmt.Sprint(i%40), 300_000)
		if i%7 == 0 {
			f.ago(10*time.Minute).supplying(id, fmt.Sprintf("D-%d", i), 11_000, 1_833_000)
		}
	}
	return f
}

// open is a panel of a size over a source.
func open(source Source, width, height int, commands ...Command) *panel {
	p := newPanel(context.Background(), source, commands, nil, time.UTC)
	p.Update(tea.WindowSizeMsg{Width: width, Height: height})
	return p
}

// keys types: names of keys as bubbletea gives them, or texts after a quote mark.
func (p *panel) keys(names ...string) tea.Cmd {
	var last tea.Cmd
	for _, name := range names {
		if text, ok := strings.CutPrefix(name, "'"); ok {
			for _, r := range text {
				_, last = p.Update(tea.KeyPressMsg{Code: r, Text: string(r)})
			}
			continue
		}
		_, last = p.Update(keyNamed(name))
	}
	return last
}

func keyNamed(name string) tea.KeyPressMsg {
	var k tea.KeyPressMsg
	for {
		mod, rest, ok := strings.Cut(name, "+")
		if !ok {
			break
		}
		name = rest
		k.Mod |= map[string]tea.KeyMod{"ctrl": tea.ModCtrl, "shift": tea.ModShift}[mod]
	}
	code, ok := map[string]rune{
		"tab": tea.KeyTab, "enter": tea.KeyEnter, "esc": tea.KeyEscape, "up": tea.KeyUp, "down": tea.KeyDown,
		"pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown, "home": tea.KeyHome, "end": tea.KeyEnd, "left": tea.KeyLeft,
		"right": tea.KeyRight, "backspace": tea.KeyBackspace,
	}[name]
	if !ok {
		code = []rune(name)[0]
	}
	k.Code = code
	return k
}

// carry carries out a line to its end.
func (p *panel) carry(line string) *panel {
	if cmd := p.keys("'"+line, "enter"); cmd != nil {
		p.Update(cmd())
	}
	return p
}

// text is the frame without its styles.
func (p *panel) text() string { return ansi.Strip(p.View().Content) }

// line is a line of the frame, counted from the end where n is negative.
func (p *panel) line(n int) string {
	lines := strings.Split(p.text(), "\n")
	if n < 0 {
		n += len(lines)
	}
	return strings.TrimRight(lines[n], " ")
}

// golden compares with a file under testdata, which -update writes anew.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what it was; where that is meant, run the test with -update.\nIt is\n%s\nand was\n%s", path, got, want)
	}
}

// trimmed is a frame as a golden file keeps it: no blanks at the ends of lines.
func trimmed(frame string) string {
	lines := strings.Split(frame, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n") + "\n"
}

// visible shows escapes in a golden file.
func visible(frame string) string { return strings.ReplaceAll(trimmed(frame), "\x1b", "␛") }
