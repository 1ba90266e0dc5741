package mongo

import (
	"context"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/event"
)

// waiting knows the commands that wait for an answer.
type waiting struct {
	mu       sync.Mutex
	commands map[command]time.Time
}

type command struct {
	connection string
	request    int64
}

func (w *waiting) monitor() *event.CommandMonitor {
	return &event.CommandMonitor{
		Started: func(_ context.Context, e *event.CommandStartedEvent) {
			// A change stream's getMore waits for news, as long as it says.
			if _, err := e.Command.LookupErr("maxTimeMS"); err == nil && e.CommandName == "getMore" {
				return
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.commands == nil {
				w.commands = map[command]time.Time{}
			}
			w.commands[command{e.ConnectionID, e.RequestID}] = time.Now()
		},
		Succeeded: func(_ context.Context, e *event.CommandSucceededEvent) { w.done(e.CommandFinishedEvent) },
		Failed:    func(_ context.Context, e *event.CommandFailedEvent) { w.done(e.CommandFinishedEvent) },
	}
}

func (w *waiting) done(e event.CommandFinishedEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.commands, command{e.ConnectionID, e.RequestID})
}

// Unanswered is for how long the oldest command has waited for its answer; 0 where none
// waits. A server that hangs is noticed by it long before an operation fails.
func (s *Store) Unanswered() time.Duration {
	s.waiting.mu.Lock()
	defer s.waiting.mu.Unlock()
	var oldest time.Time
	for _, since := range s.waiting.commands {
		if oldest.IsZero() || since.Before(oldest) {
			oldest = since
		}
	}
	if oldest.IsZero() {
		return 0
	}
	return time.Since(oldest)
}
