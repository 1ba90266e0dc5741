package central_test

import (
	"testing"
	"time"

	"evcharging/adapters/memory"
	"evcharging/application/central"
	"evcharging/application/message"
	"evcharging/domain"
)

// reading is how the records of a partition are read: at a second of the test, with an age.
type reading struct {
	second int
	age    time.Duration
}

// every gives readings from a second to another, one each so many seconds.
func every(from, to, step int, age func(second int) time.Duration) (all []reading) {
	for s := from; s < to; s += step {
		all = append(all, reading{s, age(s)})
	}
	return all
}

func always(age time.Duration) func(int) time.Duration {
	return func(int) time.Duration { return age }
}

func TestWhichRecordsComeLate(t *testing.T) {
	const sec = time.Second
	join := func(parts ...[]reading) (all []reading) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	for _, c := range []struct {
		name string
		read []reading
		// late says of which seconds records come late.
		late func(second int) bool
	}{
		{
			"none while they are read at once",
			every(0, 300, 1, func(s int) time.Duration { return time.Duration(s%5) * sec }),
			func(int) bool { return false },
		},
		{
			"none where the broker's clock is ahead",
			every(0, 300, 1, always(-20*sec)),
			func(int) bool { return false },
		},
		{
			"those that waited for as long as the broker's clock is ahead",
			join(every(0, 100, 1, always(-20*sec)), every(100, 110, 1, always(-12*sec))),
			func(s int) bool { return s >= 100 },
		},
		{
			"not for ever where the broker's clock is behind",
			every(0, 300, 1, always(12*sec)),
			func(s int) bool { return s < 60 },
		},
		{
			"not for ever where the broker's clock is behind and records are rare",
			every(0, 600, 50, always(12*sec)),
			func(s int) bool { return s < 100 },
		},
		{
			"not for ever after our clock was set ahead",
			join(every(0, 100, 1, always(0)), every(100, 400, 1, always(20*sec))),
			func(s int) bool { return s >= 100 && s < 180 },
		},
		{
			"all of a backlog",
			every(0, 300, 1, func(s int) time.Duration { return max(3*time.Hour-time.Duration(s)*40*sec, 0) }),
			func(s int) bool { return s < 270 },
		},
		{
			"all of a backlog that is read no faster than twice as fast as it came",
			every(0, 300, 1, func(s int) time.Duration { return max(200-time.Duration(s), 0) * sec }),
			func(s int) bool { return s < 195 },
		},
		{
			"all of a backlog that grows",
			every(0, 300, 1, func(s int) time.Duration { return time.Duration(s) * sec / 10 }),
			func(s int) bool { return s > 50 },
		},
		{
			"all of a backlog that stays, where it is more than a request waits",
			every(0, 300, 1, always(31*sec)),
			func(int) bool { return true },
		},
		{
			"those of a stall",
			join(every(0, 100, 1, always(0)), every(160, 161, 1, always(60*sec)), every(161, 200, 1, always(0))),
			func(s int) bool { return s == 160 },
		},
		{
			"those of a stall, where the broker's clock is behind",
			join(every(0, 100, 1, always(12*sec)), every(120, 121, 1, always(32*sec)), every(121, 200, 1, always(12*sec))),
			func(s int) bool { return s < 60 || s == 120 },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var lags central.Lags
			for _, r := range c.read {
				now := seconds(r.second)
				late := lags.Late(now, message.Source{Timestamp: now.Add(-r.age)})
				if (late > 0) != c.late(r.second) {
					t.Fatalf("at %d s a record of age %s is late by %s", r.second, r.age, late)
				}
			}
		})
	}
}

func TestBrokersWhoseClocksDifferAmongThemselves(t *testing.T) {
	var lags central.Lags
	for s := range 300 {
		for partition, age := range []time.Duration{0, 12 * time.Second} {
			now := seconds(s)
			late := lags.Late(now, message.Source{Partition: int32(partition), Timestamp: now.Add(-age)})
			if (late > 0) != (partition == 1 && s < 60) {
				t.Fatalf("at %d s a record of partition %d is late by %s", s, partition, late)
			}
		}
	}
}

func TestALateRecordIsDeafWhicheverPartitionItIsOf(t *testing.T) {
	var l memory.Listening
	read := func(now domain.UnixMillis, partition int32, age time.Duration) {
		l.Hear(now, message.Source{Topic: "ev.health", Partition: partition, Timestamp: now.Add(-age), Trusted: true})
	}
	for s := range 10 {
		read(seconds(s), 0, 0)
		read(seconds(s), 1, time.Hour-time.Duration(s)*time.Minute)
	}
	if l.Since() != seconds(9) {
		t.Errorf("listening since %s", l.Since())
	}
	read(seconds(10), 1, 0) // it has caught up
	read(seconds(11), 1, 0)
	if l.Since() != seconds(9) {
		t.Errorf("listening since %s", l.Since())
	}
	read(seconds(12), 2, time.Minute) // a partition of which nothing was read before
	if l.Since() != seconds(12) {
		t.Errorf("listening since %s", l.Since())
	}
}

func TestDeadlinesPassWhereTheBrokersClockIsBehind(t *testing.T) {
	const behind = 10 * time.Second
	w := newWorld(t)
	say := func(s int, m message.Message) {
		t.Helper()
		w.whenReceived(seconds(s), w.record(seconds(s).Add(-behind), m))
		w.judged = true
	}
	say(0, registration(cheap))
	for s := 1; s < 120; s += 5 {
		say(s, health(message.HealthOK))
	}
	say(120, request(dan, danRequest))
	if a := sent[message.Answer](w); !a.Authorized {
		t.Fatalf("sent\n%s", describe(w.outcome.messages))
	}
	say(121, sample(dans, 1, 1, seconds(121).Add(-behind)))
	for s := 122; s < 182; s += 5 {
		say(s, health(message.HealthOK))
	}
	say(241, deadline(dans, "silence", seconds(181)))
	if len(w.outcome.commits) != 1 {
		t.Errorf("a supply of which nothing was heard for two minutes goes on: %v", w.outcome.ignored)
	}
}
