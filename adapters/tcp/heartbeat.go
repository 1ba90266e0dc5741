package tcp

import "time"

const (
	ping     = "PING"
	answerOK = "OK"
	answerKO = "KO"

	// heartbeatPatience is how long a connection may go without a beat.
	heartbeatPatience = time.Minute
)

// HeartbeatServer answers an Engine's Monitor, and anyone else who asks.
type HeartbeatServer struct{ *server }

// ServeHeartbeat listens on host:port (port 0: any) and answers each PING with OK or KO,
// as healthy says at that moment; healthy is called by many goroutines at once. The
// error says which address can't be had, and why.
func ServeHeartbeat(address string, healthy func() bool) (*HeartbeatServer, error) {
	s, err := serve(address, "the heartbeat", heartbeatPatience, func() conversation { return &pulse{healthy: healthy} })
	if err != nil {
		return nil, err
	}
	return &HeartbeatServer{s}, nil
}

// pulse is the Engine's side of a heartbeat's connection.
type pulse struct {
	healthy func() bool
	// heard is how much of a PING has come.
	heard int
}

// hear answers whole PINGs. CR and LF between them are skipped. Anything else is no
// heartbeat and ends the connection without a word.
func (p *pulse) hear(data []byte, ended bool) (answer []byte, over bool) {
	for _, b := range data {
		switch {
		case b == ping[p.heard]:
			p.heard++
		case p.heard == 0 && (b == '\r' || b == '\n'):
		default:
			return answer, true
		}
		if p.heard == len(ping) {
			p.heard = 0
			if p.healthy() {
				answer = append(answer, answerOK...)
			} else {
				answer = append(answer, answerKO...)
			}
		}
	}
	return answer, ended
}
