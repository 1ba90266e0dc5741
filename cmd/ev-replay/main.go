// ev-replay reads a session event log, wherever it is, and builds from it what can be
// thrown away: the documents in MongoDB, or a file of JSON Lines.
package main

import (
	"context"
	"os"

	"evcharging/adapters/kafka"
	"evcharging/adapters/mongo"
	"evcharging/cmd/internal/program"
	"evcharging/cmd/internal/replay"
	"evcharging/domain"
)

type commandLine struct {
	program.Logging
	Rebuild rebuild `cmd:"" default:"withargs" help:"Build the documents in MongoDB from a log, or write it to a file."`
	Verify  verify  `cmd:"" help:"Hold a log against itself, checkpoints against it, and the documents in MongoDB; exit with 1 where anything is wrong."`
	Prove   prove   `cmd:"" help:"Tell why a session's bill is what it is, and export the proof of it."`
	Check   check   `cmd:"" help:"Check a proof, with neither log nor network; exit with 1 where it proves nothing."`
	Export  export  `cmd:"" help:"Write a log to a file of JSON Lines."`
	Import  imports `cmd:"" help:"Add to a log what it does not have of a file, or of another log."`
	Archive archive `cmd:"" help:"Move the samples of sessions that were closed long ago to files."`

	WhatIf      whatIf      `cmd:"" help:"Bill the sessions of a period under other prices: in all, by point and by driver. Nothing is written."`
	Show        show        `cmd:"" help:"Show the network as it was at an instant."`
	Watch       watch       `cmd:"" help:"Play the log in the panel, as fast as you like."`
	Why         why         `cmd:"" help:"Tell which events led to a state, and what caused each, back to the message."`
	Corrections corrections `cmd:"" help:"List the tickets that were corrected: before, after, difference, reason."`
}

// source is the log that a command only reads.
type source struct {
	Log string `required:"" placeholder:"SOURCE" predictor:"file" help:"The event log, as of rebuild."`
	archived
	user
}

// archived names the archive of a log.
type archived struct {
	Archive string `name:"archive" placeholder:"DIR" predictor:"file" help:"The folder of the log's archive, where samples were moved to one."`
}

// user is that of a MongoDB which a command names with its log.
type user struct {
	Username string         `name:"mongo-username" env:"MONGO_USERNAME" placeholder:"NAME" help:"User of the MongoDB that --log names, over that of the URI."`
	Password program.Secret `name:"mongo-password" env:"MONGO_PASSWORD" placeholder:"PASSWORD" help:"The user's password; everybody on this machine can read it on a command line, so take a variable or a file."`
}

func (u user) mongo(p *program.Process) mongo.Config {
	return mongo.Config{Username: u.Username, Password: u.Password.Reveal(), Logger: p.Logger}
}

func main() {
	os.Exit(program.Main("ev-replay",
		"Builds the documents in MongoDB (charging_points, drivers, sessions) from a session event log. It may be stopped at any time, run again, and run beside a Central.",
		&commandLine{}, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// outside are the flags that name checkpoints, which are kept outside a log.
type outside struct {
	Key         string   `name:"key" placeholder:"FILE" predictor:"file" help:"The public key of the network: network.pub, or those of several Centrals one after the other."`
	Checkpoints []string `name:"checkpoints" sep:"none" placeholder:"FILE" predictor:"file" help:"A Central's folder of checkpoints, its file, or a copy of it; may be given again."`
	Kafka       []string `env:"KAFKA_BOOTSTRAP_SERVERS" type:"addresses" placeholder:"HOST:PORT,..." help:"Addresses of the Kafka broker: with --key the checkpoints of its topic ev.checkpoint count, too."`
	program.KafkaSecurity
}

func (o outside) config(p *program.Process) (replay.Outside, error) {
	joining := program.Common{Kafka: o.Kafka, KafkaSecurity: o.KafkaSecurity}
	broker, err := joining.KafkaConfig(kafka.Auditor, "ev-replay", p.Logger)
	return replay.Outside{Key: o.Key, Checkpoints: o.Checkpoints, Kafka: broker}, err
}

type verify struct {
	Log string `required:"" placeholder:"SOURCE" predictor:"file" help:"The event log, as of rebuild."`
	archived
	program.Mongo
	outside
}

// Run verifies a log.
func (v *verify) Run(ctx context.Context, p *program.Process) error {
	outside, err := v.config(p)
	if err == nil {
		err = v.Check(v.Log)
	}
	if err != nil {
		return err
	}
	return replay.Verify(ctx, p, replay.VerifyConfig{
		Source:  v.Log,
		Archive: v.Archive,
		Mongo:   mongo.Config{URI: v.URI.Reveal(), Username: v.Username, Password: v.Password.Reveal(), Logger: p.Logger},
		Outside: outside,
	})
}

type prove struct {
	Session domain.SessionID `arg:"" help:"The session's id."`
	source
	outside
	JSON    bool   `name:"json" help:"Tell it as JSON."`
	Samples bool   `help:"Tell each of many samples."`
	Export  string `placeholder:"FILE" predictor:"file" help:"Write the proof to this file; it needs --key and --checkpoints."`
}

// Run tells why a bill is what it is.
func (c *prove) Run(ctx context.Context, p *program.Process) error {
	outside, err := c.config(p)
	if err != nil {
		return err
	}
	return replay.Prove(ctx, p, replay.ProveConfig{
		Session: c.Session, Source: c.Log, Archive: c.Archive, Mongo: c.mongo(p), JSON: c.JSON, Samples: c.Samples, Export: c.Export, Outside: outside,
	})
}

type check struct {
	Proof   string `arg:"" predictor:"file" help:"The file of the proof."`
	Key     string `name:"key" required:"" placeholder:"FILE" predictor:"file" help:"The public key of the network: network.pub."`
	JSON    bool   `name:"json" help:"Tell what it proves as JSON."`
	Samples bool   `help:"Tell each of many samples."`
}

// Run checks a proof.
func (c *check) Run(ctx context.Context, p *program.Process) error {
	return replay.Check(ctx, p, replay.CheckConfig{File: c.Proof, Key: c.Key, JSON: c.JSON, Samples: c.Samples})
}

type corrections struct {
	source
	From domain.UnixMillis `placeholder:"TIME" help:"Those that were decided at this time or later: RFC 3339, or a time of this machine such as 2026-12-01T00:00."`
	To   domain.UnixMillis `placeholder:"TIME" help:"Those that were decided before this time."`
	JSON bool              `name:"json" help:"Print a JSON object a line, for programs."`
}

// Run lists corrections.
func (c *corrections) Run(ctx context.Context, p *program.Process) error {
	return replay.Corrections(ctx, p, replay.CorrectionsConfig{
		Source: c.Log, Archive: c.Archive, Mongo: c.mongo(p), From: c.From, To: c.To, JSON: c.JSON,
	})
}
