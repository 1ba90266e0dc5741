package domain

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// MilliwattHours is an amount of energy. One kWh is 1,000,000 mWh.
type MilliwattHours int64

// Watts is a power.
type Watts int64

// MicroEuros is an amount of money. One euro is 1,000,000 µEUR.
type MicroEuros int64

// MicroEurosPerKWh is a price of energy.
type MicroEurosPerKWh int64

// The limits of the contract. They keep energy × price within 63 bits.
const (
	MaxEnergy MilliwattHours   = 9_000 * milli
	MaxPower  Watts            = 10_000 * 1_000
	MaxMoney  MicroEuros       = 9_000_000 * milli
	MaxPrice  MicroEurosPerKWh = 1_000 * milli

	// MaxCounter bounds sequence numbers and orders, which travel as JSON numbers.
	MaxCounter = 1<<53 - 1

	milli = 1_000_000

	maxDigits   = 18      // fit an int64, and are more than any limit has
	maxExponent = 1 << 30 // more than any text has digits
)

var (
	// ErrNotANumber tells of a text that is no decimal number.
	ErrNotANumber = errors.New("not a decimal number")
	// ErrOutOfRange tells of a figure that is negative or beyond the contract's limit.
	ErrOutOfRange = errors.New("out of range")
)

// Cost is what energy costs at a price: energy × price, rounded half up to a
// micro-euro, once. Both must lie within the contract's limits.
func Cost(energy MilliwattHours, price MicroEurosPerKWh) MicroEuros {
	return MicroEuros((int64(energy)*int64(price) + milli/2) / milli)
}

// EnergyFor is the energy that an amount bought at a price, rounded half up: what
// a meter value without energy stands for. It is 0 where the price is 0, and
// ErrOutOfRange where the result is beyond MaxEnergy.
func EnergyFor(amount MicroEuros, price MicroEurosPerKWh) (MilliwattHours, error) {
	if price == 0 {
		return 0, nil
	}
	energy := MilliwattHours((int64(amount)*milli + int64(price)/2) / int64(price))
	if energy > MaxEnergy {
		return 0, fmt.Errorf("%w: %s EUR at %s EUR/kWh is more than %s kWh", ErrOutOfRange, amount, price, MaxEnergy)
	}
	return energy, nil
}

// ParseKWh reads an energy from its decimal text in kWh, rounding half up.
func ParseKWh(text string) (MilliwattHours, error) {
	n, err := parseDecimal(text, 6, int64(MaxEnergy))
	return MilliwattHours(n), err
}

// ParseKW reads a power from its decimal text in kW, rounding half up.
func ParseKW(text string) (Watts, error) {
	n, err := parseDecimal(text, 3, int64(MaxPower))
	return Watts(n), err
}

// ParseEUR reads an amount from its decimal text in EUR, rounding half up.
func ParseEUR(text string) (MicroEuros, error) {
	n, err := parseDecimal(text, 6, int64(MaxMoney))
	return MicroEuros(n), err
}

// ParsePrice reads a price from its decimal text in EUR per kWh, rounding half up.
func ParsePrice(text string) (MicroEurosPerKWh, error) {
	n, err := parseDecimal(text, 6, int64(MaxPrice))
	return MicroEurosPerKWh(n), err
}

// String is the energy in kWh, exact, with as many decimals as it needs.
func (e MilliwattHours) String() string { return formatDecimal(int64(e), 6) }

// String is the power in kW, exact, with as many decimals as it needs.
func (p Watts) String() string { return formatDecimal(int64(p), 3) }

// String is the amount in EUR, exact, with as many decimals as it needs.
func (m MicroEuros) String() string { return formatDecimal(int64(m), 6) }

// String is the price in EUR per kWh, exact, with as many decimals as it needs.
func (p MicroEurosPerKWh) String() string { return formatDecimal(int64(p), 6) }

// parseDecimal reads a decimal number (JSON's grammar, leading zeros allowed too) as
// an integer scaled by 10^scale, rounded half up, between 0 and limit.
func parseDecimal(text string, scale int, limit int64) (int64, error) {
	mantissa, exponent := text, 0
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		// An exponent beyond an int is as good as the greatest one: the number is still one.
		// (Atoi tells of the range before it has looked at all characters.)
		e, err := strconv.Atoi(text[i+1:])
		if err != nil && (!errors.Is(err, strconv.ErrRange) || !digits(text[i+2:])) {
			return 0, fmt.Errorf("%w: %q", ErrNotANumber, clip(text))
		}
		mantissa, exponent = text[:i], min(max(e, -maxExponent), maxExponent)
	}
	negative := strings.HasPrefix(mantissa, "-")
	mantissa = strings.TrimPrefix(mantissa, "-")
	whole, fraction, dotted := strings.Cut(mantissa, ".")
	if whole == "" || dotted && fraction == "" || !digits(whole) || !digits(fraction) {
		return 0, fmt.Errorf("%w: %q", ErrNotANumber, clip(text))
	}
	significant := strings.TrimLeft(whole+fraction, "0")
	if significant == "" {
		return 0, nil
	}
	if negative {
		return 0, fmt.Errorf("%w: %s is negative", ErrOutOfRange, clip(text))
	}
	// The value has size digits before the point, in units of 10^-scale: it is decided by
	// them alone, so that a short text can't ask for a gigabyte of digits.
	size := len(significant) + exponent - len(fraction) + scale
	n := limit + 1
	if size <= maxDigits {
		n = 0
		for i := range size {
			n *= 10
			if i < len(significant) {
				n += int64(significant[i] - '0')
			}
		}
		if 0 <= size && size < len(significant) && significant[size] >= '5' {
			n++
		}
	}
	if n > limit {
		return 0, fmt.Errorf("%w: %s is more than %s", ErrOutOfRange, clip(text), formatDecimal(limit, scale))
	}
	return n, nil
}

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }

func clip(text string) string {
	if len(text) > 40 {
		return text[:40] + "…"
	}
	return text
}

func formatDecimal(n int64, scale int) string {
	sign, size := "", uint64(n)
	if n < 0 {
		sign, size = "-", -size
	}
	s := fmt.Sprintf("%0*d", scale+1, size)
	whole, fraction := s[:len(s)-scale], strings.TrimRight(s[len(s)-scale:], "0")
	if fraction == "" {
		return sign + whole
	}
	return sign + whole + "." + fraction
}
