package bbolt

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/uuid"

	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

// childFolder is the variable that makes this test binary append to a log in that folder
// until it is killed.
const childFolder = "EVENTLOG_CHILD_FOLDER"

// crowded makes a segment full in some tens of milliseconds.
var crowded = Options{segmentSize: 50_000, Logger: slog.New(slog.DiscardHandler)}

// appendUntilKilled prints the id of each commit that was acknowledged, a line each, and
// the reason why it ended, if it does.
func appendUntilKilled(dir string) (status int) {
	log, err := Open(dir, crowded)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	ended := make(chan error)
	for w := range 12 {
		go func() {
			ended <- func() error {
				ctx := context.Background()
				point := eventlog.Stream(fmt.Sprint("point-", w))
				head, err := log.Head(ctx, point)
				if err != nil {
					return err
				}
				b := eventlogtest.NewBuilder(fmt.Sprint("topic-", w))
				b.Follow(point, head)
				for i := 0; ; i++ {
					session := eventlog.Stream(fmt.Sprintf("session-%d-%d-%d", os.Getpid(), w, i/4))
					drafts := []eventlogtest.Draft{eventlogtest.Sample(session, `"sampled"`)}
					if i%4 == 3 {
						drafts = []eventlogtest.Draft{eventlogtest.Closing(session, `"ticket"`), eventlogtest.Lifecycle(point, `"released"`)}
					}
					commit := b.Commit(eventlog.Cause{}, drafts...)
					if err := log.Append(ctx, commit); err != nil {
						return err
					}
					if _, err := os.Stdout.WriteString(commit.ID.String() + "\n"); err != nil {
						return err
					}
				}
			}()
		}()
	}
	fmt.Println(<-ended)
	return 1
}

func TestAKilledProcessLosesNothingThatItAcknowledged(t *testing.T) {
	dir := t.TempDir()
	acknowledged := map[string]bool{}
	for range 6 {
		// given a process that appends, killed in the midst of it
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childFolder+"="+dir)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = child.Process.Kill() }) // where the test ends early
		lines := bufio.NewScanner(out)
		for n, enough := 0, 100+rand.IntN(1500); lines.Scan(); n++ {
			if n == 0 {
				if _, err := Open(dir, crowded); !errors.Is(err, ErrInUse) || strings.Contains(err.Error(), "\n") {
					t.Errorf("opened while another process has it: %v", err)
				}
			}
			if n == enough {
				if err := child.Process.Kill(); err != nil {
					t.Error(err)
				}
			}
			if _, err := uuid.Parse(lines.Text()); err != nil {
				t.Fatalf("the child says %q", lines.Text())
			}
			acknowledged[lines.Text()] = true
		}
		var exit *exec.ExitError
		if err := child.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
			t.Fatalf("the child was not killed: %v", err)
		}

		// when the log is opened again
		log := open(t, dir, crowded)
		heads := map[eventlog.Stream]eventlog.Head{}
		missing := map[string]bool{}
		for id := range acknowledged {
			missing[id] = true
		}
		for c, err := range log.All(t.Context(), 0) {
			if err != nil {
				t.Fatal(err)
			}
			delete(missing, c.ID.String())
			for _, p := range c.Parts {
				head := heads[p.Stream]
				if p.Version != head.Version+1 || p.Prev != head.Hash || p.Sum() != p.Hash {
					t.Fatalf("the chain of %s is broken at version %d", p.Stream, p.Version)
				}
				head.Version, head.Hash = p.Last(), p.Hash
				if p.Kind != eventlog.Sample {
					head.Kind = p.Kind
				}
				heads[p.Stream] = head
			}
		}

		// then all that was acknowledged is there, and every stream's head is that of its parts
		if len(missing) > 0 {
			t.Fatalf("%d of %d acknowledged commits are lost", len(missing), len(acknowledged))
		}
		for stream, want := range heads {
			if head, err := log.Head(t.Context(), stream); err != nil || head != want {
				t.Fatalf("head of %s: %+v, %v, want %+v", stream, head, err, want)
			}
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d acknowledged", len(acknowledged))
}
