package domain_test

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"evcharging/domain"
)

func TestParse(t *testing.T) {
	kwh := func(text string) (int64, error) { n, err := domain.ParseKWh(text); return int64(n), err }
	kw := func(text string) (int64, error) { n, err := domain.ParseKW(text); return int64(n), err }
	eur := func(text string) (int64, error) { n, err := domain.ParseEUR(text); return int64(n), err }
	price := func(text string) (int64, error) { n, err := domain.ParsePrice(text); return int64(n), err }
	for _, test := range []struct {
		parse func(string) (int64, error)
		text  string
		want  int64
		err   error
	}{
		{kwh, "0", 0, nil},
		{kwh, "12.345678", 12_345_678, nil},
		{kwh, "007.5", 7_500_000, nil},
		{kwh, "0.0000004", 0, nil},
		{kwh, "0.0000005", 1, nil},
		{kwh, "0.00000049999999999999999999999999999999", 0, nil},
		{kwh, "0.30000000000000004", 300_000, nil}, // what a binary float makes of 0.1 + 0.2
		{kwh, "1.9999995", 2_000_000, nil},
		{kwh, "1e-6", 1, nil},
		{kwh, "5e-7", 1, nil},
		{kwh, "4e-7", 0, nil},
		{kwh, "9e3", 9_000_000_000, nil},
		{kwh, "0.9E+4", 9_000_000_000, nil},
		{kwh, "90000e-1", 9_000_000_000, nil},
		{kwh, "9000", int64(domain.MaxEnergy), nil},
		{kwh, "9000.0000004", int64(domain.MaxEnergy), nil},
		{kwh, "9000.0000005", 0, domain.ErrOutOfRange},
		{kwh, "9000.000001", 0, domain.ErrOutOfRange},
		{kwh, "9001", 0, domain.ErrOutOfRange},
		{kwh, "9223372036854775808", 0, domain.ErrOutOfRange},
		{kwh, "1e300", 0, domain.ErrOutOfRange},
		{kwh, "1e999999999999999999999", 0, domain.ErrOutOfRange},
		{kwh, "1e-999999999999999999999", 0, nil},
		{kwh, "0e999999999999999999999", 0, nil},
		{kwh, "-0", 0, nil},
		{kwh, "-0.000", 0, nil},
		{kwh, "-0.0000001", 0, domain.ErrOutOfRange},
		{kwh, "-1", 0, domain.ErrOutOfRange},
		{kwh, "-1e999999999999999999999", 0, domain.ErrOutOfRange},
		{kw, "10000", int64(domain.MaxPower), nil},
		{kw, "10000.0005", 0, domain.ErrOutOfRange},
		{kw, "22.0005", 22_001, nil},
		{kw, "22.00049", 22_000, nil},
		{kw, "-22", 0, domain.ErrOutOfRange},
		{eur, "9000000", int64(domain.MaxMoney), nil},
		{eur, "9000000.000001", 0, domain.ErrOutOfRange},
		{eur, "3.7037035", 3_703_704, nil},
		{eur, "-0.01", 0, domain.ErrOutOfRange},
		{price, "1000", int64(domain.MaxPrice), nil},
		{price, "1000.000001", 0, domain.ErrOutOfRange},
		{price, "0.30", 300_000, nil},
		{price, "-0.30", 0, domain.ErrOutOfRange},
	} {
		got, err := test.parse(test.text)
		if got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%q: got %d, %v; want %d, %v", test.text, got, err, test.want, test.err)
		}
	}
}

func TestParseRefusesWhatIsNoNumber(t *testing.T) {
	for _, text := range []string{
		"", " ", "-", "+1", " 1", "1 ", ".", ".5", "5.", "1.e3", "1e", "1e+", "1e1.5", "e5", "--1", "1.2.3", "1,5",
		"1_000", "0x10", "1/2", "NaN", "Inf", "-Infinity", "nil", "1e5e5", "１", "1\x00", "\xff", "1e0x1", "0E20000000000000000000A", "0E20000000000000000000\xff",
	} {
		if got, err := domain.ParseKWh(text); got != 0 || !errors.Is(err, domain.ErrNotANumber) {
			t.Errorf("%q: got %d, %v; want %v", text, got, err, domain.ErrNotANumber)
		}
	}
}

func TestParseTellsWhatIsWrongInFewWords(t *testing.T) {
	long := strings.Repeat("9", 1<<20)
	for text, want := range map[string]string{
		"9000.5":  "out of range: 9000.5 is more than 9000",
		"-3":      "out of range: -3 is negative",
		"three":   `not a decimal number: "three"`,
		long:      "out of range: " + long[:40] + "… is more than 9000",
		long[:40]: "out of range: " + long[:40] + " is more than 9000",
	} {
		if _, err := domain.ParseKWh(text); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// A record may hold a megabyte of digits, or a short text that stands for more: neither
// may take long.
func TestParseIsQuickOnAnyText(t *testing.T) {
	third := "0." + strings.Repeat("3", 1<<22)
	for _, text := range []string{third, "-" + third, third + "e2", "1e1000000000", "1e-1000000000", strings.Repeat("1", 1<<22)} {
		start := time.Now()
		_, _ = domain.ParseEUR(text)
		if took := time.Since(start); took > time.Second {
			t.Errorf("%.20s… took %s", text, took)
		}
	}
}

func TestString(t *testing.T) {
	for _, test := range []struct {
		value fmt.Stringer
		want  string
	}{
		{domain.MilliwattHours(0), "0"},
		{domain.MilliwattHours(1), "0.000001"},
		{domain.MilliwattHours(1_500_000), "1.5"},
		{domain.MilliwattHours(12_000_000), "12"},
		{domain.Watts(22_050), "22.05"},
		{domain.Watts(7), "0.007"},
		{domain.MicroEuros(3_703_703), "3.703703"},
		{domain.MicroEuros(-250_000), "-0.25"},
		{domain.MicroEurosPerKWh(300_000), "0.3"},
		{domain.MaxMoney, "9000000"},
		{domain.MicroEuros(math.MinInt64), "-9223372036854.775808"},
	} {
		if got := test.value.String(); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

func TestStringIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		readBack(t, domain.MilliwattHours(rapid.Int64Range(0, int64(domain.MaxEnergy)).Draw(t, "energy")), domain.ParseKWh)
		readBack(t, domain.Watts(rapid.Int64Range(0, int64(domain.MaxPower)).Draw(t, "power")), domain.ParseKW)
		readBack(t, domain.MicroEuros(rapid.Int64Range(0, int64(domain.MaxMoney)).Draw(t, "money")), domain.ParseEUR)
		readBack(t, domain.MicroEurosPerKWh(rapid.Int64Range(0, int64(domain.MaxPrice)).Draw(t, "price")), domain.ParsePrice)
	})
}

func readBack[T interface {
	comparable
	fmt.Stringer
}](t *rapid.T, value T, parse func(string) (T, error)) {
	if got, err := parse(value.String()); err != nil || got != value {
		t.Errorf("%s is read back as %s, %v", value, got, err)
	}
}

// The limits are the contract's, in its units.
func TestLimits(t *testing.T) {
	for limit, want := range map[fmt.Stringer]string{
		domain.MaxEnergy: "9000", domain.MaxPower: "10000", domain.MaxMoney: "9000000", domain.MaxPrice: "1000",
	} {
		if got := limit.String(); got != want {
			t.Errorf("a limit of %T is %s, want %s", limit, got, want)
		}
	}
	if domain.MaxCounter != 9_007_199_254_740_991 {
		t.Errorf("the greatest counter is %d, want 2^53 - 1", domain.MaxCounter)
	}
}

func TestCost(t *testing.T) {
	for _, test := range []struct {
		energy domain.MilliwattHours
		price  domain.MicroEurosPerKWh
		want   domain.MicroEuros
	}{
		{0, 300_000, 0},
		{12_345_678, 300_000, 3_703_703}, // 3.7037034
		{12_345_679, 300_000, 3_703_704}, // 3.7037037
		{1, 499_999, 0},
		{1, 500_000, 1}, // half is rounded up
		{5_000_000, 0, 0},
		{domain.MaxEnergy, domain.MaxPrice, domain.MaxMoney},
		{domain.MaxEnergy - 1, domain.MaxPrice - 1, 8_999_999_990_000},
	} {
		if got := domain.Cost(test.energy, test.price); got != test.want {
			t.Errorf("%s kWh at %s EUR/kWh cost %s EUR, want %s", test.energy, test.price, got, test.want)
		}
	}
}

func TestCostIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		energy := rapid.Int64Range(0, int64(domain.MaxEnergy)).Draw(t, "energy")
		price := rapid.Int64Range(0, int64(domain.MaxPrice)).Draw(t, "price")
		want := roundHalfUp(new(big.Rat).SetFrac(new(big.Int).Mul(big.NewInt(energy), big.NewInt(price)), big.NewInt(1_000_000)))
		got := domain.Cost(domain.MilliwattHours(energy), domain.MicroEurosPerKWh(price))
		if big.NewInt(int64(got)).Cmp(want) != 0 || got < 0 || got > domain.MaxMoney {
			t.Errorf("got %d, want %d", got, want)
		}
	})
}

func TestEnergyFor(t *testing.T) {
	for _, test := range []struct {
		amount domain.MicroEuros
		price  domain.MicroEurosPerKWh
		want   domain.MilliwattHours
		err    error
	}{
		{3_000_000, 300_000, 10_000_000, nil},
		{1_000_000, 300_000, 3_333_333, nil},
		{2_000_000, 300_000, 6_666_667, nil},
		{1, 2_000_000, 1, nil}, // half is rounded up
		{1, 2_000_001, 0, nil},
		{1, 3_000_000, 0, nil},
		{5_000_000, 0, 0, nil}, // at no price, an amount tells nothing
		{domain.MaxMoney, domain.MaxPrice, domain.MaxEnergy, nil},
		{domain.MaxMoney, domain.MaxPrice - 1, 0, domain.ErrOutOfRange},
		{domain.MaxMoney, 1, 0, domain.ErrOutOfRange},
	} {
		got, err := domain.EnergyFor(test.amount, test.price)
		if got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s EUR at %s EUR/kWh are %s kWh, %v; want %s, %v", test.amount, test.price, got, err, test.want, test.err)
		}
	}
}

func TestEnergyForIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		amount := rapid.Int64Range(0, int64(domain.MaxMoney)).Draw(t, "amount")
		price := rapid.Int64Range(1, int64(domain.MaxPrice)).Draw(t, "price")
		want := roundHalfUp(new(big.Rat).SetFrac(new(big.Int).Mul(big.NewInt(amount), big.NewInt(1_000_000)), big.NewInt(price)))
		got, err := domain.EnergyFor(domain.MicroEuros(amount), domain.MicroEurosPerKWh(price))
		if want.Cmp(big.NewInt(int64(domain.MaxEnergy))) > 0 {
			if !errors.Is(err, domain.ErrOutOfRange) {
				t.Errorf("got %d, %v; want %v", got, err, domain.ErrOutOfRange)
			}
		} else if err != nil || big.NewInt(int64(got)).Cmp(want) != 0 {
			t.Errorf("got %d, %v; want %d", got, err, want)
		}
	})
}

// What an amount bought costs that amount again, but for the rounding of a milliwatt-hour.
func TestEnergyForTurnsCostBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		energy := domain.MilliwattHours(rapid.Int64Range(0, int64(domain.MaxEnergy)).Draw(t, "energy"))
		price := domain.MicroEurosPerKWh(rapid.Int64Range(1_000_000, int64(domain.MaxPrice)).Draw(t, "price"))
		got, err := domain.EnergyFor(domain.Cost(energy, price), price)
		if err != nil || got < energy-1 || got > energy+1 {
			t.Errorf("%d mWh came back as %d, %v", energy, got, err)
		}
	})
}

func TestParseAgreesWithRationals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?`).Draw(t, "text")
		agree(t, text)
	})
}

func FuzzParseDecimal(f *testing.F) {
	for _, seed := range []string{
		"0", "-0", "1", "12.345678", "0.0000005", "9000", "9000.0000005", "1e3", "1E-7", "00.1", "-1", "", ".", "1e", "1e999", "5e-0007",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) { agree(t, text) })
}

var number = regexp.MustCompile(`^(-?)([0-9]+(?:\.[0-9]+)?)(?:[eE]([+-]?[0-9]+))?$`)

// agree holds two of the parsers, which differ in scale and limit, to rational arithmetic.
func agree(t rapid.TB, text string) {
	t.Helper()
	kw, kwErr := domain.ParseKW(text)
	eur, eurErr := domain.ParseEUR(text)
	form := number.FindStringSubmatch(text)
	if form == nil {
		if kw != 0 || eur != 0 || !errors.Is(kwErr, domain.ErrNotANumber) || !errors.Is(eurErr, domain.ErrNotANumber) {
			t.Fatalf("%q: got %v and %v, want %v", text, kwErr, eurErr, domain.ErrNotANumber)
		}
		return
	}
	exponent, err := strconv.Atoi("0" + strings.TrimLeft(form[3], "+-"))
	if err != nil || exponent > 4_000 {
		return // rationals would need a gigabyte; TestParse has such cases
	}
	value, ok := new(big.Rat).SetString(text)
	if !ok {
		t.Fatalf("%q is no rational", text)
	}
	check := func(got int64, err error, scale, limit int64) {
		want := roundHalfUp(new(big.Rat).Mul(value, new(big.Rat).SetInt64(scale)))
		switch {
		case value.Sign() < 0 || want.Cmp(big.NewInt(limit)) > 0:
			if got != 0 || !errors.Is(err, domain.ErrOutOfRange) {
				t.Fatalf("%q: got %d, %v; want %v", text, got, err, domain.ErrOutOfRange)
			}
		case err != nil || want.Cmp(big.NewInt(got)) != 0:
			t.Fatalf("%q: got %d, %v; want %d", text, got, err, want)
		}
	}
	check(int64(kw), kwErr, 1_000, int64(domain.MaxPower))
	check(int64(eur), eurErr, 1_000_000, int64(domain.MaxMoney))
}

// roundHalfUp is the whole number nearest to a number that is not negative.
func roundHalfUp(r *big.Rat) *big.Int {
	doubled := new(big.Int).Add(new(big.Int).Mul(r.Num(), big.NewInt(2)), r.Denom())
	return doubled.Div(doubled, new(big.Int).Mul(r.Denom(), big.NewInt(2)))
}
