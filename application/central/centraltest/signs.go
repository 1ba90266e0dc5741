// Package centraltest has the suites of Central's ports: every adapter passes its port's.
// It is for tests; nothing that is shipped imports it.
package centraltest

import (
	"fmt"
	"sync"
	"testing"

	"evcharging/application/central"
	"evcharging/domain"
)

// RunSigns is the suite of central.SignsOfLife. open gives signs of life that know of no
// point.
func RunSigns(t *testing.T, open func(*testing.T) central.SignsOfLife) {
	t.Run("nobody is heard at first", func(t *testing.T) {
		signs := open(t)
		last(t, signs, "CP-1", central.Sign{})
		heard(t, signs, "CP-2", central.Sign{HeardAt: 5, ReportedAt: 4})
		last(t, signs, "CP-1", central.Sign{})
	})
	for _, c := range []struct {
		name        string
		first, then central.Sign
		stays       int
	}{
		{"the first", central.Sign{}, central.Sign{HeardAt: 6, ReportedAt: 2}, 2},
		{"one reported later", central.Sign{HeardAt: 5, ReportedAt: 1}, central.Sign{HeardAt: 6, ReportedAt: 2}, 2},
		{"one reported later, heard before", central.Sign{HeardAt: 6, ReportedAt: 1}, central.Sign{HeardAt: 5, ReportedAt: 2}, 2},
		{"not one reported earlier", central.Sign{HeardAt: 5, ReportedAt: 2}, central.Sign{HeardAt: 6, ReportedAt: 1}, 1},
		{"one reported at the same time, heard later", central.Sign{HeardAt: 5, ReportedAt: 2}, central.Sign{HeardAt: 6, ReportedAt: 2}, 2},
		{"not one reported at the same time, heard before", central.Sign{HeardAt: 6, ReportedAt: 2}, central.Sign{HeardAt: 5, ReportedAt: 2}, 1},
		{"one reported later, heard by nobody", central.Sign{HeardAt: 5, ReportedAt: 2}, central.Sign{ReportedAt: 3}, 2},
		{"of a clock that was set back", central.Sign{HeardAt: 1_800_000_000_000, ReportedAt: 2}, central.Sign{HeardAt: 1, ReportedAt: 3}, 2},
	} {
		t.Run("stays: "+c.name, func(t *testing.T) {
			signs := open(t)
			heard(t, signs, "CP-1", c.first)
			heard(t, signs, "CP-1", c.then)
			want := c.first
			if c.stays == 2 {
				want = c.then
			}
			last(t, signs, "CP-1", want)
		})
	}
	t.Run("side by side", func(t *testing.T) {
		const hearers, points, each = 6, 3, 20
		signs := open(t)
		var all sync.WaitGroup
		for i := range hearers {
			all.Go(func() {
				point := domain.PointID(fmt.Sprint("CP-", i%points))
				for n := range domain.UnixMillis(each) {
					if err := signs.Heard(t.Context(), point, central.Sign{HeardAt: n, ReportedAt: n}); err != nil {
						t.Error(err)
					}
					if got, err := signs.Last(t.Context(), point); err != nil || got.ReportedAt < n {
						t.Errorf("right after %d, %+v (%v) was heard last", n, got, err)
					}
				}
			})
		}
		all.Wait()
		for i := range points {
			last(t, signs, domain.PointID(fmt.Sprint("CP-", i)), central.Sign{HeardAt: each - 1, ReportedAt: each - 1})
		}
	})
}

func heard(t *testing.T, signs central.SignsOfLife, point domain.PointID, s central.Sign) {
	t.Helper()
	if err := signs.Heard(t.Context(), point, s); err != nil {
		t.Fatal(err)
	}
}

func last(t *testing.T, signs central.SignsOfLife, point domain.PointID, want central.Sign) {
	t.Helper()
	if got, err := signs.Last(t.Context(), point); err != nil || got != want {
		t.Fatalf("%s was last heard %+v (%v), want %+v", point, got, err, want)
	}
}
