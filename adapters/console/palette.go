package console

import (
	"image/color"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/colorprofile"

	"evcharging/application/network"
	"evcharging/domain/chargingpoint"
)

// sign is how a state is told apart: by colour, glyph and word, each enough alone.
type sign struct{ glyph, word, short string }

var signs = map[chargingpoint.State]sign{
	chargingpoint.Supplying:    {"↯", "SUPPLYING", "SUPPLYING"},
	chargingpoint.Activated:    {"●", "ACTIVATED", "ACTIVATED"},
	chargingpoint.OutOfOrder:   {"◆", "Out of Order", "Out"},
	chargingpoint.Broken:       {"✗", "BROKEN", "BROKEN"},
	chargingpoint.Disconnected: {"○", "DISCONNECTED", "DISC."},
	network.Unreadable:         {"?", "UNREADABLE", "UNREAD."},
}

// stateOrder is the order in which states are counted. Points that can't be read are counted
// behind them, where there are any.
var stateOrder = []chargingpoint.State{
	chargingpoint.Supplying, chargingpoint.Activated, chargingpoint.OutOfOrder, chargingpoint.Broken, chargingpoint.Disconnected,
}

// colours of the states, and of what is beside them. Those of the states differ in
// lightness, so that they differ for the colour-blind and on a grey screen too.
type colours struct {
	states                      map[chargingpoint.State]color.Color
	dim, accent, warning, alert color.Color
}

func coloursFor(dark bool, profile colorprofile.Profile) colours {
	state := func(supplying, activated, outOfOrder, broken, disconnected string) map[chargingpoint.State]color.Color {
		return map[chargingpoint.State]color.Color{
			chargingpoint.Supplying:    lipgloss.Color(supplying),
			chargingpoint.Activated:    lipgloss.Color(activated),
			chargingpoint.OutOfOrder:   lipgloss.Color(outOfOrder),
			chargingpoint.Broken:       lipgloss.Color(broken),
			chargingpoint.Disconnected: lipgloss.Color(disconnected),
		}
	}
	var c colours
	switch {
	case profile == colorprofile.ANSI: // the sixteen colours of the terminal's own theme; it has no orange
		c.states = state("10", "2", "3", "9", "8")
		c.dim, c.accent = lipgloss.Color("8"), lipgloss.Color("6")
		if !dark {
			c.states = state("2", "2", "3", "1", "8")
		}
	case dark:
		c.states = state("#a6f5b8", "#35b35c", "#ffa640", "#f0524f", "#77767b")
		c.dim, c.accent = lipgloss.Color("#8f8f96"), lipgloss.Color("#7fc7d9")
	default:
		c.states = state("#004a1c", "#2ca55e", "#c06000", "#b3151f", "#6a6a6e")
		c.dim, c.accent = lipgloss.Color("#6b6b70"), lipgloss.Color("#0b6477")
	}
	c.warning, c.alert = c.states[chargingpoint.OutOfOrder], c.states[chargingpoint.Broken]
	return c
}

// look is the styles of a frame.
type look struct {
	edge, state                      map[chargingpoint.State]lipgloss.Style
	plain, strong, dim, accent, pick lipgloss.Style
	levels                           [3]lipgloss.Style // of messages
}

func newLook(c colours) look {
	style := lipgloss.NewStyle().Inline(true)
	l := look{
		edge: map[chargingpoint.State]lipgloss.Style{}, state: map[chargingpoint.State]lipgloss.Style{},
		plain: style, strong: style.Bold(true), dim: style.Foreground(c.dim), accent: style.Foreground(c.accent),
		pick: style.Reverse(true),
	}
	for s, colour := range c.states {
		l.edge[s] = style.Foreground(colour)
		l.state[s] = style.Foreground(colour).Bold(true)
	}
	l.edge[network.Unreadable], l.state[network.Unreadable] = style, l.pick // it is no state of a point
	l.levels[network.Info] = style
	l.levels[network.Warning] = style.Foreground(c.warning)
	l.levels[network.Alert] = style.Foreground(c.alert).Bold(true)
	return l
}
