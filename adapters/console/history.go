package console

// historyLimit is how many lines are remembered.
const historyLimit = 200

// history is the lines that were typed, oldest first, and where somebody is in them.
type history struct {
	lines []string
	at    int    // len(lines): below the newest
	draft string // what was being typed before going up
}

// add remembers a line, unless it is the newest again.
func (h *history) add(line string) {
	if n := len(h.lines); line != "" && (n == 0 || h.lines[n-1] != line) {
		h.lines = append(h.lines, line)
		h.lines = h.lines[max(0, len(h.lines)-historyLimit):]
	}
	h.at, h.draft = len(h.lines), ""
}

// up is the line before; ok is false where there is none.
func (h *history) up(typed string) (line string, ok bool) {
	if h.at == 0 {
		return "", false
	}
	if h.at == len(h.lines) {
		h.draft = typed
	}
	h.at--
	return h.lines[h.at], true
}

// down is the line after, in the end what was being typed; ok is false below that.
func (h *history) down() (line string, ok bool) {
	if h.at == len(h.lines) {
		return "", false
	}
	h.at++
	if h.at == len(h.lines) {
		return h.draft, true
	}
	return h.lines[h.at], true
}
