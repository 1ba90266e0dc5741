package replay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"time"

	"evcharging/adapters/kafka"
	"evcharging/adapters/notary"
	"evcharging/application/audit"
	"evcharging/application/message"
	"evcharging/cmd/internal/program"
)

// Outside is what is kept outside a log: checkpoints, and whose signatures count.
type Outside struct {
	// Key is a file of public keys, such as network.pub.
	Key string
	// Checkpoints are files of checkpoints, or the folders of Centrals that make them.
	Checkpoints []string
	// Kafka is the broker that has the topic of checkpoints; it has no addresses where that is
	// not to be read.
	Kafka kafka.Config
}

// named tells whether anything is.
func (o Outside) named() bool { return o.Key != "" || len(o.Checkpoints) > 0 }

// open reads the keys and finds the checkpoints; close removes what was temporary.
func (o Outside) open(ctx context.Context) (keys *notary.Keys, all []audit.Checkpoints, close func(), err error) {
	close = func() {}
	if o.Key == "" || len(o.Checkpoints)+len(o.Kafka.Brokers) == 0 {
		return nil, nil, close, program.UsageError(errors.New("checkpoints are named with --checkpoints, or --kafka, and whose signatures count with --key: network.pub of a Central"))
	}
	if keys, err = notary.ReadKeys(o.Key); err != nil {
		return nil, nil, close, err
	}
	for _, name := range o.Checkpoints {
		info, err := os.Stat(name)
		if err != nil {
			return nil, nil, close, fmt.Errorf("read checkpoints: %w", err)
		}
		if info.IsDir() {
			name = filepath.Join(name, notary.CheckpointsName)
		}
		all = append(all, checkpointsIn(name, name))
	}
	if len(o.Kafka.Brokers) > 0 {
		topic, copied, err := o.copyTopic(ctx)
		if err != nil {
			return nil, nil, close, err
		}
		close = func() { _ = os.Remove(copied) }
		all = append(all, checkpointsIn(topic, copied))
	}
	return keys, all, close, nil
}

// reachWithin is how long a broker may take to answer.
const reachWithin = 10 * time.Second

// copyTopic copies what the topic of checkpoints has to a temporary file.
func (o Outside) copyTopic(ctx context.Context) (topic, name string, err error) {
	reaching, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	transport, err := kafka.Connect(reaching, o.Kafka)
	if err != nil {
		return "", "", err
	}
	defer transport.Close()
	file, err := os.CreateTemp("", "ev-replay-")
	if err != nil {
		return "", "", fmt.Errorf("make a temporary file: %w", err)
	}
	topic = transport.Topics().Checkpoint
	out := bufio.NewWriter(file)
	err = transport.Read(ctx, topic, func(r message.Received) {
		if c, ok := r.Message.(message.Checkpoint); ok {
			_, _ = out.Write(c.Text) // Flush tells what has failed
			_ = out.WriteByte('\n')  // a record that somebody cut off does not spoil the next
		}
	})
	if err = errors.Join(err, out.Flush(), file.Close()); err != nil {
		return "", "", errors.Join(fmt.Errorf("read the topic %s: %w", topic, err), os.Remove(file.Name()))
	}
	return "the topic " + topic, file.Name(), nil
}

// checkpointsIn are those of a file.
func checkpointsIn(name, file string) audit.Checkpoints {
	return audit.Checkpoints{Name: name, Records: func(context.Context) iter.Seq2[audit.Record, error] { return notary.RecordsIn(file) }}
}
