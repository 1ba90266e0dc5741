package tcp

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"evcharging/domain"
)

// say lets a conversation hear pieces, the last of which may be the end of the
// connection, and gives all that it says.
func say(c conversation, pieces []string, ended bool) (answer string, over bool) {
	for _, piece := range pieces {
		said, last := c.hear([]byte(piece), false)
		answer += string(said)
		if last {
			return answer, true
		}
	}
	if ended {
		said, last := c.hear(nil, true)
		return answer + string(said), last
	}
	return answer, false
}

func TestPulse(t *testing.T) {
	megabyte := strings.Repeat("x", 1<<20)
	for name, given := range map[string]struct {
		pieces []string
		ended  bool
		sick   bool
		answer string
		over   bool
	}{
		"a beat":                         {pieces: []string{"PING"}, answer: "OK"},
		"a beat of a sick Engine":        {pieces: []string{"PING"}, sick: true, answer: "KO"},
		"byte for byte":                  {pieces: []string{"P", "I", "N", "G"}, answer: "OK"},
		"two beats in one piece":         {pieces: []string{"PINGPING"}, answer: "OKOK"},
		"a beat and a half":              {pieces: []string{"PINGPI"}, answer: "OK"},
		"a beat across two pieces":       {pieces: []string{"PINGPI", "NG"}, answer: "OKOK"},
		"CR and LF between beats":        {pieces: []string{"\r\nPING\r\n\n", "PING\n"}, answer: "OKOK"},
		"CR within a beat":               {pieces: []string{"PI\rNG"}, over: true},
		"half a beat":                    {pieces: []string{"PI"}},
		"half a beat and the end":        {pieces: []string{"PI"}, ended: true, over: true},
		"nothing":                        {pieces: []string{"", ""}},
		"the end":                        {ended: true, over: true},
		"a beat and the end":             {pieces: []string{"PING"}, ended: true, answer: "OK", over: true},
		"something else":                 {pieces: []string{"GET / HTTP/1.1\r\n"}, over: true},
		"a beat and then something else": {pieces: []string{"PINGX"}, answer: "OK", over: true},
		"lower case":                     {pieces: []string{"ping"}, over: true},
		"a megabyte":                     {pieces: []string{megabyte}, over: true},
		"a null byte":                    {pieces: []string{"\x00"}, over: true},
	} {
		t.Run(name, func(t *testing.T) {
			answer, over := say(&pulse{healthy: func() bool { return !given.sick }}, given.pieces, given.ended)
			if answer != given.answer || over != given.over {
				t.Fatalf("%q, over: %v", answer, over)
			}
		})
	}
}

func TestQuestion(t *testing.T) {
	for name, given := range map[string]struct {
		pieces            []string
		answered, healthy bool
		err               error
	}{
		"OK":                  {pieces: []string{"OK"}, answered: true, healthy: true},
		"KO":                  {pieces: []string{"KO"}, answered: true},
		"byte for byte":       {pieces: []string{"O", "K"}, answered: true, healthy: true},
		"with a line's end":   {pieces: []string{"OK\r\n"}, answered: true, healthy: true},
		"after a line's end":  {pieces: []string{"\r\n", "KO"}, answered: true},
		"half":                {pieces: []string{"O"}},
		"nothing":             {pieces: []string{""}},
		"more than an answer": {pieces: []string{"OKKO"}, answered: true, healthy: true},
		"something else":      {pieces: []string{"HTTP/1.1 400"}, err: errNoHeartbeat},
		"mixed":               {pieces: []string{"OO"}, err: errNoHeartbeat},
		"half a line":         {pieces: []string{"O\n"}, err: errNoHeartbeat},
		"lower case":          {pieces: []string{"ok"}, err: errNoHeartbeat},
	} {
		t.Run(name, func(t *testing.T) {
			var q question
			var answered bool
			var err error
			for _, piece := range given.pieces {
				answered, err = q.hear([]byte(piece))
			}
			if answered != given.answered || q.healthy != given.healthy || !errors.Is(err, given.err) {
				t.Fatalf("answered %v, healthy %v, %v", answered, q.healthy, err)
			}
		})
	}
}

type secretsOf map[string]string

func (s secretsOf) Secret(point domain.PointID) (string, bool) {
	secret, ok := s[string(point)]
	return secret, ok
}

const nonce = "6f1c"

func TestReception(t *testing.T) {
	// printf '6f1c CP-001' | openssl dgst -sha256 -hmac s3cret
	const right = "6d494f498fb1a80a26afa2ad31b75d40eb838b198af34cefb69ae2acfe17dc6e"
	known := secretsOf{"CP-001": "s3cret"}
	for name, given := range map[string]struct {
		secrets Secrets
		pieces  []string
		ended   bool
		answer  string
		over    bool
	}{
		"an open network":                     {nil, []string{"HELLO CP-001\n"}, false, "OK\n", true},
		"an open network, a point without LF": {nil, []string{"HELLO CP-001"}, true, "OK\n", true},
		"an open network, in pieces":          {nil, []string{"HEL", "LO CP-", "001", "\r", "\n"}, false, "OK\n", true},
		"a point that is known":               {known, []string{"HELLO CP-001\n"}, false, "CHALLENGE 6f1c\n", false},
		"a point that is not":                 {known, []string{"HELLO CP-002\n"}, false, "DENIED Central does not know this point\n", true},
		"the right proof":                     {known, []string{"HELLO CP-001\n", "PROOF " + right + "\n"}, false, "CHALLENGE 6f1c\nOK\n", true},
		"the right proof, ended by the end":   {known, []string{"HELLO CP-001\n", "PROOF " + right}, true, "CHALLENGE 6f1c\nOK\n", true},
		"the right proof, in capitals":        {known, []string{"HELLO CP-001\n", "PROOF " + strings.ToUpper(right) + "\r\n"}, false, "CHALLENGE 6f1c\nOK\n", true},
		"a wrong proof":                       {known, []string{"HELLO CP-001\n", "PROOF 93be\n"}, false, "CHALLENGE 6f1c\nDENIED the secret is not that of this point\n", true},
		"an empty proof":                      {known, []string{"HELLO CP-001\n", "PROOF \n"}, false, "CHALLENGE 6f1c\nDENIED the secret is not that of this point\n", true},
		"a proof before the challenge":        {known, []string{"PROOF " + right + "\n"}, false, "DENIED say HELLO and the id of a charging point\n", true},
		"a second hello":                      {known, []string{"HELLO CP-001\nHELLO CP-001\n"}, false, "CHALLENGE 6f1c\nDENIED say PROOF and the proof\n", true},
		"gone after the challenge":            {known, []string{"HELLO CP-001\n"}, true, "CHALLENGE 6f1c\n", true},
		"no id":                               {nil, []string{"HELLO \n"}, false, "DENIED say HELLO and the id of a charging point\n", true},
		"an impossible id":                    {nil, []string{"HELLO CP 001\n"}, false, "DENIED say HELLO and the id of a charging point\n", true},
		"something else":                      {nil, []string{"GET / HTTP/1.1\r\n"}, false, "DENIED say HELLO and the id of a charging point\n", true},
		"an empty line":                       {nil, []string{"\n"}, false, "DENIED say HELLO and the id of a charging point\n", true},
		"nothing":                             {nil, nil, true, "", true},
		"half a line":                         {nil, []string{"HELLO"}, false, "", false},
		"the longest line":                    {nil, []string{"HELLO " + strings.Repeat(" ", 244) + "CP-001\n"}, false, "OK\n", true},
		"a line that is too long":             {nil, []string{"HELLO " + strings.Repeat(" ", 245) + "CP-001\n"}, false, "DENIED a line is at most 256 bytes\n", true},
		"a megabyte without a line":           {nil, []string{strings.Repeat("x", 1<<20)}, false, "DENIED a line is at most 256 bytes\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			r := &reception{secrets: given.secrets, newNonce: func() string { return nonce }}
			answer, over := say(r, given.pieces, given.ended)
			if answer != given.answer || over != given.over {
				t.Fatalf("%q, over: %v", answer, over)
			}
			if cap(r.lines.pending) > 4*maxLine {
				t.Fatalf("holds %d bytes", cap(r.lines.pending))
			}
		})
	}
}

func TestIntroduction(t *testing.T) {
	const right = "PROOF 6d494f498fb1a80a26afa2ad31b75d40eb838b198af34cefb69ae2acfe17dc6e\n"
	for name, given := range map[string]struct {
		secret   string
		pieces   []string
		ended    bool
		say      string
		accepted bool
		err      error
		denied   string
	}{
		"an open network":            {pieces: []string{"OK\n"}, accepted: true},
		"the reference's Central":    {pieces: []string{"ACK"}, ended: true, accepted: true},
		"in pieces":                  {pieces: []string{"O", "K", "\r\n"}, accepted: true},
		"a challenge":                {secret: "s3cret", pieces: []string{"CHALLENGE 6f1c\n"}, say: right},
		"a challenge that is passed": {secret: "s3cret", pieces: []string{"CHALLENGE 6f1c\n", "OK\n"}, say: right, accepted: true},
		"a second challenge":         {secret: "s3cret", pieces: []string{"CHALLENGE 6f1c\n", "CHALLENGE 6f1d\n"}, say: right, err: errNoCentral},
		"a challenge, no secret":     {pieces: []string{"CHALLENGE 6f1c\n"}, err: ErrNoSecret},
		"denied":                     {pieces: []string{"DENIED wrong\n"}, denied: "wrong"},
		"denied without a reason":    {pieces: []string{"DENIED\n"}, denied: "it gives no reason"},
		"denied with an escape":      {pieces: []string{"DENIED \x1b[31mred\xff\n"}, denied: "[31mred"},
		"something else":             {pieces: []string{"HTTP/1.1 400 Bad Request\r\n"}, err: errNoCentral},
		"a megabyte":                 {pieces: []string{strings.Repeat("x", 1<<20)}, err: errNoCentral},
		"nothing":                    {ended: true},
	} {
		t.Run(name, func(t *testing.T) {
			i := &introduction{point: "CP-001", secret: given.secret}
			var said string
			var accepted bool
			var err error
			for _, piece := range given.pieces {
				var s string
				s, accepted, err = i.hear([]byte(piece), false)
				said += s
			}
			if given.ended && !accepted {
				_, accepted, err = i.hear(nil, true)
			}
			var denial *DeniedError
			if errors.As(err, &denial) != (given.denied != "") || denial != nil && denial.Reason != given.denied {
				t.Fatalf("error: %v", err)
			}
			if said != given.say || accepted != given.accepted || denial == nil && !errors.Is(err, given.err) {
				t.Fatalf("said %q, accepted %v, %v", said, accepted, err)
			}
		})
	}
}

func TestNoncesDiffer(t *testing.T) {
	if a, b := newNonce(), newNonce(); a == b || len(a) != 32 {
		t.Fatalf("%s, %s", a, b)
	}
}

func FuzzConversations(f *testing.F) {
	f.Add([]byte("PINGPI\r\nHELLO CP-001\nPROOF 12\n"), 3)
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		cut = min(max(cut, 0), len(data))
		for name, begin := range map[string]func() conversation{
			"pulse": func() conversation { return &pulse{healthy: func() bool { return true }} },
			"reception": func() conversation {
				return &reception{secrets: secretsOf{"CP-001": "s"}, newNonce: func() string { return nonce }}
			},
		} {
			whole, pieces := begin(), begin()
			answer, over := whole.hear(data, true)
			first, last := pieces.hear(data[:cut], false)
			if !last {
				var second []byte
				second, last = pieces.hear(data[cut:], true)
				first = append(bytes.Clone(first), second...)
			}
			if !bytes.Equal(answer, first) || over != last || !over {
				t.Fatalf("%s: %q and %q, over: %v and %v", name, answer, first, over, last)
			}
		}
	})
}
