package replay

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"

	"evcharging/adapters/notary"
	"evcharging/application/audit"
	"evcharging/cmd/internal/program"
)

// Outside is what is kept outside a log: checkpoints, and whose signatures count.
type Outside struct {
	// Key is a file of public keys, such as network.pub.
	Key string
	// Checkpoints are files of checkpoints, or the folders of Centrals that make them.
	Checkpoints []string
}

// named tells whether anything is.
func (o Outside) named() bool { return o.Key != "" || len(o.Checkpoints) > 0 }

// open reads the keys and finds the checkpoints.
func (o Outside) open() (*notary.Keys, []audit.Checkpoints, error) {
	if o.Key == "" || len(o.Checkpoints) == 0 {
		return nil, nil, program.UsageError(errors.New("checkpoints are named with --checkpoints, and whose signatures count with --key: network.pub of a Central"))
	}
	keys, err := notary.ReadKeys(o.Key)
	if err != nil {
		return nil, nil, err
	}
	var all []audit.Checkpoints
	for _, name := range o.Checkpoints {
		info, err := os.Stat(name)
		if err != nil {
			return nil, nil, fmt.Errorf("read checkpoints: %w", err)
		}
		if info.IsDir() {
			name = filepath.Join(name, notary.CheckpointsName)
		}
		all = append(all, audit.Checkpoints{Name: name, Records: func(context.Context) iter.Seq2[audit.Record, error] { return recordsIn(name) }})
	}
	return keys, all, nil
}

// recordsIn are the records of a file.
func recordsIn(name string) iter.Seq2[audit.Record, error] {
	return func(yield func(audit.Record, error) bool) {
		file, err := os.Open(name)
		if err != nil {
			yield(audit.Record{}, err)
			return
		}
		defer file.Close()
		for record, err := range audit.Records(file) {
			if !yield(record, err) {
				return
			}
		}
	}
}
