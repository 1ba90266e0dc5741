package console

import (
	"strings"
	"testing"
	"unicode"

	"github.com/charmbracelet/x/ansi"
	"pgregory.net/rapid"
)

func TestCleanTextsHaveOneWidthAndNoControl(t *testing.T) {
	odd := rapid.SampledFrom([]rune{
		0x1b, '\n', '\t', 0, 0x9b, 0x200d, 0xfe0f, 0x202e, 0x1f468, 0x1f469, 0x1f3fd, 0x1f1ea, 0x1f1f8, 0x301, 0x1100, 0x1161,
		0x0915, 0x094d, 0x0937, 0x0e33, 0x26a1, 0x231a, 0x6771, 0xe9, 'a', ' ', '#', 0x20e3, 0xad, 0x2028, 0x115f, 0x3164,
	})
	rapid.Check(t, func(t *rapid.T) {
		var text string
		if rapid.Bool().Draw(t, "odd") {
			text = string(rapid.SliceOfN(odd, 0, 20).Draw(t, "runes"))
		} else {
			text = rapid.String().Draw(t, "text") + string(rapid.SliceOfN(rapid.Byte(), 0, 4).Draw(t, "bytes"))
		}
		cells := rapid.IntRange(0, 30).Draw(t, "cells")
		got := fit(clean(text), cells)
		if a, b := ansi.GraphemeWidth.StringWidth(got), ansi.WcWidth.StringWidth(got); a != cells || b != cells {
			t.Fatalf("%q becomes %q, %d or %d cells wide and not %d", text, got, a, b, cells)
		}
		if strings.ContainsFunc(got, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }) {
			t.Fatalf("%q becomes %q", text, got)
		}
	})
}

func TestTextsAreCutToCells(t *testing.T) {
	for _, c := range []struct {
		text  string
		cells int
		want  string
	}{
		{"Sevilla", 10, "Sevilla"},
		{"Sevilla", 7, "Sevilla"},
		{"Sevilla", 6, "Sevil…"},
		{"Sevilla", 1, "…"},
		{"Sevilla", 0, ""},
		{"東京駅", 6, "東京駅"},
		{"東京駅", 5, "東京…"},
		{"東京駅", 4, "東…"},
		{"東京駅", 2, "…"},
		{"Córdoba", 4, "Cór…"},
	} {
		if got := cut(c.text, c.cells); got != c.want {
			t.Errorf("%q cut to %d is %q, want %q", c.text, c.cells, got, c.want)
		}
	}
	if got := right("5.50", 6) + fit("東", 3) + apart("left text", "right", 12); got != "  5.50東 left … right" {
		t.Errorf("%q", got)
	}
}
