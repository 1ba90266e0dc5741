// Package console shows the network to people: a panel in a terminal, plain lines
// where there is none, and the commands that are typed into either.
//
// What a frame shows is a function of one value, screen: the panel over a live
// network and a look back over an old one differ in their Source alone.
package console
