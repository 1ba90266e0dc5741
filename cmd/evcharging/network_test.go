package main

import "testing"

func TestPorts(t *testing.T) {
	for want, addresses := range map[string][]string{
		"":                                 {},
		"127.0.0.1:7100":                   {"127.0.0.1:7100"},
		"127.0.0.1:7100 to 127.0.0.1:7102": {"127.0.0.1:7100", "127.0.0.1:7101", "127.0.0.1:7102"},
		"127.0.0.1:7100, 127.0.0.1:40123, 127.0.0.1:7102 to 127.0.0.1:7103": {"127.0.0.1:7100", "127.0.0.1:40123", "127.0.0.1:7102", "127.0.0.1:7103"},
		"[::1]:7100 to [::1]:7101": {"[::1]:7100", "[::1]:7101"},
	} {
		if got := ports(addresses); got != want {
			t.Errorf("%v are said as %q, want %q", addresses, got, want)
		}
	}
}
