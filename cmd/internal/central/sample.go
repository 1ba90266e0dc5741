package central

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"evcharging/adapters/eventjson"
	"evcharging/application/audit"
	"evcharging/application/eventlog"
	"evcharging/application/network"
)

const (
	// sampleEvery is how often a stream of the log is verified while Central runs.
	sampleEvery = 10 * time.Second
	// sampleParts is how much is read of a stream that goes on for ever.
	sampleParts = 1_000
	// sampleSaid is how often the panel says that all was well.
	sampleSaid = time.Hour
)

// sampled counts what was verified while Central runs.
type sampled struct{ streams, findings atomic.Uint64 }

// verifySamples verifies a stream of the log now and then, until ctx ends, and says what it
// finds, once. The longer the network works, the less likely is damage that nobody has seen.
func (n *Node) verifySamples(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	said, told := time.Now(), map[string]bool{}
	found := func(f audit.Finding) {
		n.sampled.findings.Add(1)
		if text := f.String(); !told[text] {
			told[text] = true
			n.warn("audit", "the event log is damaged: see ev-replay verify")
			n.logger.Error("the event log is not as it should be; ev-replay verify tells all of it", "found", text)
			n.feed.say(network.Alert, "The event log is not as it should be: "+text)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := verifySample(ctx, n.store, rand.Uint64N, found); err != nil {
			n.logger.Debug("no stream of the event log is verified", "error", err)
			continue
		}
		if streams := n.sampled.streams.Add(1); time.Since(said) >= sampleSaid && len(told) == 0 {
			said = time.Now()
			n.feed.say(network.Info, fmt.Sprintf("The event log is verified while it is written: %d streams so far, all is well", streams))
		}
	}
}

// verifySample verifies the stream of a part that below, which gives a number below another,
// chooses: of a session all of it, of a point what came up to that part.
func verifySample(ctx context.Context, log eventlog.Log, below func(uint64) uint64, found func(audit.Finding)) error {
	end, err := log.End(ctx)
	if err != nil || end == 0 {
		return err
	}
	for c, err := range log.All(ctx, 1+eventlog.Position(below(uint64(end)))) {
		var damage *eventlog.DamagedError
		if archived(err) {
			return nil
		}
		if errors.As(err, &damage) {
			found(audit.Finding{Position: damage.Position, Where: damage.Where, Stream: damage.Stream, Reason: damage.Reason})
			return nil
		}
		if err != nil {
			return err
		}
		part := c.Parts[below(uint64(len(c.Parts)))]
		from, to := eventlog.Version(1), eventlog.Version(0)
		if strings.HasPrefix(string(part.Stream), "point-") {
			from, to = max(part.Version, sampleParts)-sampleParts+1, part.Version
		}
		_, err = audit.VerifyStream(ctx, log, eventjson.Codec{}, part.Stream, from, to, func(f audit.Finding) {
			if !archived(f.Reason) {
				found(f)
			}
		})
		return err
	}
	return nil
}

// archived tells whether nothing is wrong but that samples are in an archive.
func archived(err error) bool {
	_, ok := errors.AsType[*eventlog.ArchivedError](err)
	return ok
}
