// Package program is the command line that all binaries share: flags, variables
// and .env, help, version and completion, logs, signals and exit statuses.
//
// A binary declares a struct that embeds Common and has its commands as fields;
// the role that it has without a word on the command line is the command tagged
// default:"withargs":
//
//	type commandLine struct {
//		program.Common
//		Serve serve `cmd:"" default:"withargs"`
//		Stop  stop  `cmd:"" help:"Stop a point."`
//	}
//
//	func (s *serve) Run(ctx context.Context, p *program.Process, c *commandLine) error
//
//	func main() {
//		os.Exit(program.Main("ev-central", "Governs the network.", &commandLine{},
//			os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
//	}
//
// That command has no help text of its own: the description is its help. A flag's
// help text says its unit; its default and its variable are added.
//
// What a flag may be is decided here, by its type, so that a bad value is refused
// in the same words everywhere: domain identifiers and prices, addresses, whole
// numbers, lengths of time, log levels. The tags min and max bound a number or a
// length of time; without min nothing negative is taken.
package program
