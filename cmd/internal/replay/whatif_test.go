package replay

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"evcharging/cmd/internal/program"
)

func TestWhatIf(t *testing.T) {
	prices := `# the prices that could have been
*     0.35

CP-1  0.30  2027-01-15T08:00:00Z  # from the first grant on
CP-1  9     2099-01-01            # too late for all
`
	for name, c := range map[string]struct {
		config WhatIfConfig
		want   string
	}{
		"for people": {
			WhatIfConfig{},
			`5 sessions closed, 2.517 kWh
billed 1.13085 EUR, otherwise 0.7554 EUR: 0.37545 EUR less

  POINT  SESSIONS    KWH   BILLED  OTHERWISE  DIFFERENCE
   CP-1         4  2.511  1.12905     0.7533    -0.37575
   CP-2         1  0.006   0.0018     0.0021      0.0003

  DRIVER  SESSIONS    KWH   BILLED  OTHERWISE  DIFFERENCE
     D-7         3  2.512   1.1286     0.7539     -0.3747
     D-8         2  0.005  0.00225     0.0015    -0.00075
`,
		},
		"of a period": {
			WhatIfConfig{From: 1_800_000_073_000, To: 1_800_000_101_000, JSON: true},
			`{
  "from": "2027-01-15T08:01:13.000Z",
  "to": "2027-01-15T08:01:41.000Z",
  "total": {
    "sessions": 1,
    "kwh": 0.006,
    "eur_billed": 0.0018,
    "eur_otherwise": 0.0021,
    "eur_difference": 0.0003
  },
  "points": [
    {
      "cp_id": "CP-2",
      "sessions": 1,
      "kwh": 0.006,
      "eur_billed": 0.0018,
      "eur_otherwise": 0.0021,
      "eur_difference": 0.0003
    }
  ],
  "drivers": [
    {
      "driver_id": "D-7",
      "sessions": 1,
      "kwh": 0.006,
      "eur_billed": 0.0018,
      "eur_otherwise": 0.0021,
      "eur_difference": 0.0003
    }
  ]
}
`,
		},
		"of nothing": {WhatIfConfig{To: 1}, "0 sessions closed before " + program.FormatInstant(1) + ", 0 kWh\nbilled 0 EUR, otherwise 0 EUR: the same\n"},
	} {
		t.Run(name, func(t *testing.T) {
			c.config.Source = filepath.Join(oldLogs, "v2.jsonl")
			c.config.Prices = filepath.Join(t.TempDir(), "prices")
			if err := os.WriteFile(c.config.Prices, []byte(prices), 0o600); err != nil {
				t.Fatal(err)
			}
			printed, err := run(t, "", func(p *program.Process) error { return WhatIf(t.Context(), p, c.config) })
			if err != nil || printed != c.want {
				t.Errorf("%v, it prints\n%swant\n%s", err, printed, c.want)
			}
		})
	}
}

func TestPricesThatCanNotBeUnderstood(t *testing.T) {
	for text, says := range map[string]string{
		"CP-1":                                "line 1: a line of prices is",
		"\n* 0.3 2027-01-15 08:00":            "line 2: a line of prices is",
		"CP-1 free":                           "not a decimal number",
		"CP-1 -0.3":                           "-0.3 is negative",
		"CP-1 1001":                           "1001 is more than 1000",
		"CP/1 0.3":                            "line 1: a line of prices is",
		"CP-1 0.3 tomorrow":                   "a time is like",
		"CP-1 0.3\nCP-1 0.4":                  "line 2: the price of CP-1 at that time was said already",
		"* 0.3 2027-01-15\n* 0.4\n* 0.3\n#":   "line 3: the price of * at that time was said already",
		"CP-1 0.3\nCP-1 0.3 2027-01-15 # yes": "",
	} {
		tariff, named, err := readTariff(strings.NewReader(text))
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%q: it says %v, want %q", text, err, says)
		}
		if err == nil && (len(named) != 1 || named[0] != "CP-1") {
			t.Errorf("%q names %v", text, named)
		}
		if price, ok := tariff.Price("CP-1", 1); err == nil && (!ok || price != 300_000) {
			t.Errorf("%q: %s", text, price)
		}
	}
	file := filepath.Join(t.TempDir(), "none")
	_, err := run(t, "", func(p *program.Process) error {
		return WhatIf(t.Context(), p, WhatIfConfig{Source: filepath.Join(oldLogs, "v2.jsonl"), Prices: file})
	})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of no file it says %v", err)
	}
}
