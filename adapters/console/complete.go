package console

import (
	"strings"
	"unicode"
)

// completion is what Tab offers for the word before the cursor.
type completion struct {
	before, after string // the line around the word
	choices       []string
	chosen        int // -1: the line has what the choices have in common
}

// startCompletion looks for what the word before the cursor may become. The line that it
// gives has what all choices have in common; the completion is nil where there is
// nothing left to choose.
func startCompletion(r registry, line string, cursor int) (string, int, *completion) {
	runes := []rune(line)
	before, after := string(runes[:cursor]), string(runes[cursor:])
	words := strings.Fields(before)
	if len(words) == 0 || unicode.IsSpace(runes[cursor-1]) {
		words = append(words, "")
	}
	word := words[len(words)-1]
	choices := r.complete(words)
	c := &completion{before: strings.TrimSuffix(before, word), after: after, choices: choices, chosen: -1}
	switch len(choices) {
	case 0:
		return line, cursor, nil
	case 1:
		if !strings.HasPrefix(after, " ") {
			choices[0] += " "
		}
		line, cursor = c.with(choices[0])
		return line, cursor, nil
	}
	if common := commonPrefix(choices); len(common) > len(word) {
		line, cursor = c.with(common)
	}
	return line, cursor, c
}

// turn chooses the next, or with -1 the previous.
func (c *completion) turn(by int) (string, int) {
	if c.chosen < 0 && by < 0 {
		c.chosen = 0
	}
	c.chosen = (c.chosen + by + len(c.choices)) % len(c.choices)
	return c.with(c.choices[c.chosen])
}

func (c *completion) with(word string) (line string, cursor int) {
	return c.before + word + c.after, len([]rune(c.before + word))
}

func commonPrefix(texts []string) string {
	common := texts[0]
	for _, t := range texts[1:] {
		n := 0
		for n < len(common) && n < len(t) && common[n] == t[n] {
			n++
		}
		common = common[:n]
	}
	return strings.ToValidUTF8(common, "")
}
