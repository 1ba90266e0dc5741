package console

import (
	"strings"
	"unicode"

	"github.com/charmbracelet/x/ansi"
)

// clean makes a text from elsewhere one that is safe on one line of a terminal:
// without control characters, so that no text moves the cursor or changes colours,
// without invisible ones that turn or join what stands beside them, and with
// nothing whose width terminals disagree about.
func clean(text string) string {
	if plain(text) {
		return text
	}
	visible := strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
			return -1
		case unicode.Is(unicode.Variation_Selector, r), r >= 0x1F3FB && r <= 0x1F3FF: // presentation and skin
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	var b strings.Builder
	for visible != "" {
		cluster, width := ansi.FirstGraphemeCluster(visible, ansi.GraphemeWidth)
		if width != ansi.WcWidth.StringWidth(cluster) {
			b.WriteByte('?')
		} else {
			b.WriteString(cluster)
		}
		visible = visible[len(cluster):]
	}
	return b.String()
}

// plain tells whether a text has nothing but printable ASCII.
func plain(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// cut shortens a clean text to so many cells; what is missing shows as an ellipsis.
func cut(text string, cells int) string {
	if len(text) <= cells {
		return text // no character is wider than its bytes
	}
	if cells <= 0 {
		return ""
	}
	return ansi.Truncate(text, cells, "…")
}

// fit makes a clean text exactly so many cells wide.
func fit(text string, cells int) string {
	text = cut(text, cells)
	return text + blank(cells-ansi.StringWidth(text))
}

// right puts a clean text at the right of at least so many cells.
func right(text string, cells int) string {
	return blank(cells-ansi.StringWidth(text)) + text
}

// apart puts one clean text at the left and one at the right of so many cells. The
// left one is cut.
func apart(left, right string, cells int) string {
	w := ansi.StringWidth(right)
	if w >= cells {
		return fit(right, cells)
	}
	return fit(left, cells-w-1) + " " + right
}

func blank(cells int) string { return strings.Repeat(" ", max(cells, 0)) }

// table sets rows of clean cells in columns.
func table(rows [][]string) string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], ansi.StringWidth(cell))
		}
	}
	lines := make([]string, len(rows))
	for i, row := range rows {
		var b strings.Builder
		for j, cell := range row {
			b.WriteString(cell)
			if j < len(row)-1 {
				b.WriteString(blank(widths[j] - ansi.StringWidth(cell) + 2))
			}
		}
		lines[i] = strings.TrimRight(b.String(), " ")
	}
	return strings.Join(lines, "\n")
}
