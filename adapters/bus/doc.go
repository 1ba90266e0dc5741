// Package bus carries what a turn publishes to the ports, by Watermill's router over a
// small synchronous publish/subscribe of our own.
//
// Watermill's gochannel won't do here: its Publish returns nil where nobody subscribes or
// where it was closed meanwhile. This one's returns nil only when every subscriber has
// acknowledged; a Nack, a missing subscriber or a closed bus is an error and fails the
// turn. Turns run side by side: the router starts a goroutine for each message.
package bus
