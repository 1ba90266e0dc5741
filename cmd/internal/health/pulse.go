package health

import (
	"fmt"
	"sync/atomic"
	"time"
)

// longestPause is how long a main loop may take for a turn: more than a disk that is slow,
// less than nobody would notice.
const longestPause = 30 * time.Second

// Pulse is the sign that a main loop turns. Its zero value is that of a loop that has not
// begun yet, which is alive. Its methods may be called at the same time.
type Pulse struct{ last atomic.Pointer[time.Time] }

// Beat is called once a turn of the loop, which has one at least once a second.
func (p *Pulse) Beat() {
	now := time.Now()
	p.last.Store(&now)
}

// Live is nil as long as the loop turns.
func (p *Pulse) Live() error {
	if last := p.last.Load(); last != nil && time.Since(*last) > longestPause {
		return fmt.Errorf("the main loop has not turned for %s: restart the program", time.Since(*last).Round(time.Second))
	}
	return nil
}
