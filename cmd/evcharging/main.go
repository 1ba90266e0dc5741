// evcharging is a whole network in one process on embedded parts: a Kafka broker, Central
// with its event log, charging points (each an Engine and a Monitor) and drivers that come,
// charge and go. Programs from elsewhere join it at the addresses that it prints.
package main

import (
	"context"
	"fmt"
	"net"
	"os"

	"evcharging/cmd/internal/program"
)

type commandLine struct {
	program.Logging
	Run run `cmd:"" default:"withargs"`
}

type run struct {
	Points  int    `default:"6" max:"1000" placeholder:"N" help:"How many charging points to simulate."`
	Drivers int    `default:"4" max:"1000" placeholder:"N" help:"How many drivers come, charge and go."`
	Speed   int    `default:"60" min:"1" max:"3600" placeholder:"FACTOR" help:"Quickens battery and energy of the simulated points; reports, leases and Kafka's time stay real."`
	Data    string `placeholder:"DIR" help:"Folder that keeps everything; without it the network lives in a temporary folder and is gone at the end."`
	Host    string `default:"127.0.0.1" placeholder:"HOST" help:"Address of this machine to listen on and to tell programs on other machines."`
}

// Run runs the network until ctx ends or somebody quits.
func (r *run) Run(ctx context.Context, p *program.Process, c *commandLine) error {
	if err := checkHost(r.Host); err != nil {
		return program.UsageError(fmt.Errorf("--host: %w", err))
	}
	return start(ctx, p, *r, c.LogLevel)
}

// checkHost is nil where a network can listen on a host and others can be told it.
func checkHost(host string) error {
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return fmt.Errorf("%q can't be told to others: give the name or address under which they reach this machine", host)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return fmt.Errorf("it is no address of this machine: %w", err)
	}
	return listener.Close()
}

func main() {
	os.Exit(program.Main("evcharging",
		"Runs a whole network of charging points in one process, nothing else installed: a Kafka broker, Central with its event log, points and drivers.",
		&commandLine{}, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
