package engine

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"evcharging/application/engine"
)

// drainTimeout is how long an Engine that stops waits for the broker to have its final reports.
const drainTimeout = 3 * time.Second

// run is the loop around the state machine, and what comes after it.
func (n *Node) run(machine *engine.Engine, first engine.Outcome) {
	defer close(n.ended)
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	n.tasks.Go(func() { n.connect(ctx, failed) })
	n.err = n.loop(ctx, machine, first, failed)
	n.healthy.Store(false)
	cancel()
	n.disconnect()
	n.err = errors.Join(n.err, n.heartbeat.Close(), n.journal.Close(), n.health.Close())
	n.logger.Info("the Engine has ended", "point", n.config.Point)
}

// loop has what happens go in, and does what is asked for, one at a time, until the
// Engine was asked to stop and nothing waits for the broker.
func (n *Node) loop(ctx context.Context, machine *engine.Engine, out engine.Outcome, failed <-chan error) error {
	clock := time.NewTicker(time.Second)
	defer clock.Stop()
	stop := n.stopping.Done()
	var late <-chan time.Time
	for {
		n.pulse.Beat()
		if err := n.perform(ctx, out); err != nil {
			return err
		}
		n.show(machine)
		if stop == nil && machine.Idle() {
			return nil
		}
		var in engine.Input
		select {
		case in = <-n.inputs:
		case <-clock.C:
			in = engine.Tick{}
		case <-stop:
			in, stop = engine.Shutdown{}, nil
			timer := time.NewTimer(drainTimeout)
			defer timer.Stop()
			late = timer.C
		case <-late:
			n.logger.Warn("final reports wait in the journal for the Engine's return: the broker does not have them", "reports", machine.Status().Unreported)
			return nil
		case err := <-failed:
			return err
		}
		out = machine.Step(in, now())
	}
}

// show is what others see of the machine.
func (n *Node) show(machine *engine.Engine) {
	status := machine.Status()
	n.status.Store(&status)
	n.healthy.Store(machine.Healthy())
}

// perform does what a step asks for: the journal first.
func (n *Node) perform(ctx context.Context, out engine.Outcome) error {
	if !out.Record.IsEmpty() {
		if err := n.journal.Append(out.Record); err != nil {
			return err
		}
	}
	for _, notice := range out.Notices {
		level := slog.LevelInfo
		if notice.Warning {
			level = slog.LevelWarn
		}
		n.logger.Log(ctx, level, notice.Text)
	}
	if batch := out.Send; batch != nil {
		n.tasks.Go(func() {
			n.put(ctx, engine.Sent{Batch: batch.Number, Err: n.send(ctx, batch.Messages)})
		})
	}
	return nil
}
