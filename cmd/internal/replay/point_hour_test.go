package replay

import (
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/memory"
	"evcharging/application/audit/audittest"
	"evcharging/application/message"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
	"evcharging/domain/session"
)

// What an hour of a point that supplies with a sample a second costs in the log, in bytes, as
// docs/figures.md says it, where many points do. Packed it is the less the fewer they are.
const (
	hourInBbolt = 2_200_000
	hourInLines = 2_500_000
	hourPacked  = 420_000
)

// supplying has points supply at once for some seconds, or be idle, as their Monitors and
// Engines tell it.
func supplying(n *audittest.Network, points, seconds int, supply bool) {
	n.Helper()
	location, price := "C/ Major, 1", domain.MicroEurosPerKWh(300_000)
	begin, energy := n.Now, domain.MilliwattHours(0)
	for second := range seconds {
		n.Now = begin.Add(time.Duration(second) * time.Second)
		energy += 6_111 // 22 kW
		for i := range points {
			id, driver := domain.PointID(fmt.Sprintf("CP-%03d", i+1)), domain.DriverID(fmt.Sprintf("D-%03d", i+1))
			request := domain.RequestID(fmt.Sprintf("5c3e0c5e-0f5d-4a53-9d7c-6d5c2a1b%04d", i))
			of, total := session.IDFor(id, driver, request), energy
			if second%60 == 0 {
				n.Take(message.Registration{Point: id, Location: &location, Price: &price, PriceText: price.String()})
			}
			if second%5 == 0 {
				n.Take(message.Health{Point: id, Status: message.HealthOK, LeaseSeconds: 15})
			}
			switch {
			case !supply:
			case second == 0:
				n.Take(message.Request{Driver: driver, Point: id, ID: request, Origin: message.OriginDriver})
			case second < seconds-1:
				n.Take(message.MeterValue{
					Session: of, Point: id, Driver: driver, Power: 22_000, Amount: domain.Cost(total, price), Energy: &total, Seq: int64(second), At: n.Now,
				})
			default:
				n.Take(message.Done{Session: of, Point: id, Driver: driver, Energy: total, Amount: domain.Cost(total, price), Reason: message.DoneFinished, At: n.Now})
			}
		}
	}
}

// sizeOf is how many bytes there are in a file or a folder.
func sizeOf(t *testing.T, name string) (size int64) {
	t.Helper()
	err := filepath.WalkDir(name, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		size += info.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}

func TestWhatAPointHourCosts(t *testing.T) {
	points, seconds := 20, 900
	if *events > points*3_600 {
		points, seconds = *events/3_600, 3_600
	}
	log := memory.NewLog()
	n := audittest.New(t, log, eventjson.Codec{})
	supplying(n, points, seconds, false)
	end, err := log.End(t.Context())
	if err != nil || int(end) != 2*points { // each has registered, and was heard
		t.Errorf("points that are idle make %d commits, %v", end, err)
	}
	supplying(n, points, seconds, true)

	dir := t.TempDir()
	folder, file, packed := filepath.Join(dir, "log"), filepath.Join(dir, "log.jsonl"), filepath.Join(dir, "log.jsonl.gz")
	stored := open(t, folder)
	if err := fill(t.Context(), stored, log.All(t.Context(), 1), func() {}); err != nil {
		t.Fatal(err)
	}
	if err := stored.Close(); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{file, packed} {
		p := &program.Process{Stdout: io.Discard, Stderr: io.Discard, Logger: quiet}
		if err := Export(t.Context(), p, ExportConfig{Source: folder, File: to}); err != nil {
			t.Fatal(err)
		}
	}
	of := func(name string) int64 { return sizeOf(t, name) * 3_600 / int64(points*seconds) }
	t.Logf("of %d points, an hour of one that supplies takes %d bytes in bbolt, %d as lines, %d packed", points, of(folder), of(file), of(packed))
	grown := int64(8<<20) * 3_600 / int64(points*seconds) // the files of a folder may be larger than what is in them
	if of(file) < hourInLines*9/10 || of(file) > hourInLines*11/10 || of(packed) > hourPacked*11/10 || of(folder) > hourInBbolt*11/10+grown {
		t.Error("docs/figures.md says something else")
	}
}
