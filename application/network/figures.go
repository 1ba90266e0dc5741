package network

import (
	"strconv"
	"strings"

	"evcharging/domain"
)

// KW is a power in kW for people, rounded half up to so many decimals, at most 3.
func KW(p domain.Watts, decimals int) string { return decimal(int64(p), 3, decimals) }

// KWh is an energy in kWh for people, rounded half up to so many decimals, at most 6.
func KWh(e domain.MilliwattHours, decimals int) string { return decimal(int64(e), 6, decimals) }

// EUR is an amount in EUR for people, rounded half up to a cent.
func EUR(m domain.MicroEuros) string { return decimal(int64(m), 6, 2) }

// Price is a price in EUR per kWh for people: exact, with at least two decimals.
func Price(p domain.MicroEurosPerKWh) string {
	exact := p.String()
	if _, fraction, _ := strings.Cut(exact, "."); len(fraction) >= 2 {
		return exact
	}
	return decimal(int64(p), 6, 2)
}

// decimal writes n × 10^-scale with so many decimals, rounded half up.
func decimal(n int64, scale, decimals int) string {
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	cut := int64(1)
	for range scale - decimals {
		cut *= 10
	}
	text := strconv.FormatInt((n+cut/2)/cut, 10)
	if decimals == 0 {
		return sign + text
	}
	if missing := decimals + 1 - len(text); missing > 0 {
		text = strings.Repeat("0", missing) + text
	}
	return sign + text[:len(text)-decimals] + "." + text[len(text)-decimals:]
}
