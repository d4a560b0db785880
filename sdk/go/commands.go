package wsgateway

import "time"

const (
	// envelope is the bytes of a command besides its channels.
	envelope = 512
	// defaultCommandBytes is what every gateway accepts, until the greeting says more.
	defaultCommandBytes = 4096
	// defaultCommandRate is what a gateway accepts in a second, until the greeting says more.
	defaultCommandRate = 10.0
	// ahead is how many seconds' worth of commands may be sent at once.
	ahead = time.Second
	// answerTimeout is for the answer to a subscribe: a gateway may look messages up for 15 s.
	answerTimeout = 30 * time.Second
)

// costOf leaves a fifth of the gateway's command rate to pings.
func costOf(rate float64) time.Duration { return time.Duration(1.25 / rate * float64(time.Second)) }

// flight is a subscribe that waits for its answer.
type flight struct {
	command command
	entries []*entry
	at      time.Time
}

// commander is the part of a session that decides what to send, and when.
type commander struct {
	flight  *flight
	leaving []string
	// wakeAt is when commands that wait for the command rate may be sent; zero when none waits.
	wakeAt time.Time
	id     int64
	bytes  int
	cost   time.Duration
	paidAt time.Time
}

func (c *commander) reset() {
	c.flight, c.leaving = nil, nil
	c.wakeAt, c.paidAt = time.Time{}, time.Time{}
}

func (c *commander) limit(bytes int, rate float64) {
	if bytes > 2*envelope {
		c.bytes = bytes
	}
	if rate > 0.01 && rate < 1e6 {
		c.cost = costOf(rate)
	}
}

// overdue reports that the answer to a subscribe does not come.
func (c *commander) overdue(now time.Time) bool {
	return c.flight != nil && now.Sub(c.flight.at) > answerTimeout
}

// pays takes what a command costs; false when it has to wait.
func (c *commander) pays(now time.Time) bool {
	if ready := c.paidAt.Add(-max(0, ahead-c.cost)); now.Before(ready) {
		c.wakeAt = ready
		return false
	}
	if c.paidAt.Before(now) {
		c.paidAt = now
	}
	c.paidAt = c.paidAt.Add(c.cost)
	return true
}

// commands returns what to send now. Ask again after every event, and at wakeAt.
func (s *session) commands(now time.Time) (out []command) {
	s.wakeAt = time.Time{}
	if !s.greeted || s.flight != nil || s.group != nil {
		return nil
	}
	for len(s.leaving) > 0 {
		if !s.pays(now) {
			return out
		}
		n := first(s.leaving, s.bytes-envelope)
		out = append(out, command{Type: "unsubscribe", Channels: s.leaving[:n]})
		s.leaving = s.leaving[n:]
	}
	resume, entries := s.next()
	if len(entries) > 0 && s.pays(now) {
		out = append(out, s.ask(entries, resume, now))
	}
	return out
}

// next returns the entries of the next subscribe: first all that is to be resumed, then what is new, then last values.
func (s *session) next() (*Cursor, []*entry) {
	fresh := s.subscriptions.pick(func(e *entry) bool { return e.state == stateNew })
	for _, e := range fresh {
		e.joined = e.joined || s.given
	}
	s.given = s.given && len(fresh) == 0
	resuming := s.subscriptions.pick(func(e *entry) bool { return e.state == stateNew && e.joined })
	if len(resuming) > 0 && s.frozen != nil {
		return s.frozen, resuming
	}
	s.thaw()
	if len(fresh) == 0 {
		return nil, s.subscriptions.pick(func(e *entry) bool { return e.state == stateHeld && e.owed })
	}
	kind := fresh[0].owed
	return nil, s.subscriptions.pick(func(e *entry) bool { return e.state == stateNew && e.owed == kind })
}

func (s *session) ask(entries []*entry, resume *Cursor, now time.Time) command {
	s.id++
	c := command{Type: "subscribe", ID: s.id, Batch: true, Resume: resume}
	for _, e := range entries {
		c.Channels = append(c.Channels, e.pattern)
	}
	n := first(c.Channels, s.bytes-envelope)
	c.Channels, entries = c.Channels[:n], entries[:n]
	for _, e := range entries {
		if e.state == stateNew {
			e.state = stateAsked
		}
		c.Snapshot = c.Snapshot || e.owed || (resume != nil && e.snapshot)
	}
	s.flight = &flight{c, entries, now}
	return c
}
