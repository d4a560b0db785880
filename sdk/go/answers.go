package wsgateway

import (
	"math"
	"slices"
)

// What the gateway answers to commands, and what it changes by itself.

// preset: the token subscribes to channels. While there is something to resume they are resumed like all others.
func (s *session) preset(p *push) {
	offset := p.offset()
	if offset < 0 || len(p.Subscribed) == 0 {
		return
	}
	for _, pattern := range p.Subscribed {
		e, isNew := s.subscriptions.add(pattern)
		e.preset = e.preset || isNew
		if s.frozen == nil && e.preset && !e.joined {
			e.state, e.joined, e.promised = stateHeld, true, offset
		}
	}
	if s.frozen == nil {
		s.high = max(s.high, offset)
		s.emit(Subscribed{Channels: p.Subscribed, Offset: offset})
	}
}

func (s *session) acknowledge(p *push) {
	flight := s.flight
	if flight == nil || p.ID != flight.command.ID {
		return
	}
	s.flight = nil
	lost := p.Recovered != nil && !*p.Recovered
	offset := max(p.offset(), 0)
	if cursor := s.cursor(); lost && cursor != nil && cursor.Epoch == s.epoch && offset < cursor.Offset {
		s.forget() // a cursor from a future that never was
	}
	accepted := make(map[string]bool, len(p.Subscribed))
	for _, channel := range p.Subscribed {
		accepted[channel] = true
	}
	var mine []*entry
	var channels []string
	for _, e := range flight.entries {
		if accepted[e.pattern] {
			mine, channels = append(mine, e), append(channels, e.pattern)
			continue
		}
		e.owed = false
		if e.state != stateHeld {
			e.state = stateRejected
		}
		s.emit(Rejected{e.pattern, codeOf(p.Rejected, e.pattern)})
	}
	if len(mine) > 0 {
		s.hold(mine, flight.command, offset, lost)
	}
	s.thaw()
	if len(mine) > 0 {
		s.emit(Subscribed{channels, offset, p.Recovered != nil, p.Recovered != nil && *p.Recovered})
	}
}

// codeOf: the list of rejections is bounded, so not every channel has its code.
func codeOf(rejected []Rejected, channel string) string {
	for _, one := range rejected {
		if one.Channel == channel {
			return one.Code
		}
	}
	return "rejected"
}

// hold: these entries are delivered from a position on.
func (s *session) hold(mine []*entry, c command, offset int64, lost bool) {
	high := offset
	// To those who resume last values come only when something is missing.
	values := c.Snapshot && (lost || c.Resume == nil)
	var serving []*entry
	entries := make(map[*entry]bool, len(mine))
	for _, e := range mine {
		entries[e] = true
		if e.state == stateHeld {
			high = math.MaxInt64 // only last values are under way
		}
		if lost {
			e.promised, e.owed = -1, e.snapshot
		}
		if e.promised < 0 {
			e.promised = offset
		}
		e.state, e.joined = stateHeld, true
		if values && e.owed {
			serving = append(serving, e)
		}
	}
	if c.Resume != nil || c.Snapshot {
		s.group = &group{id: c.ID, high: high, entries: entries, serving: serving}
	}
	s.high = max(s.high, offset)
}

// thaw lets the cursor move again once nothing is left to be resumed.
func (s *session) thaw() {
	waits := func(e *entry) bool { return e.joined && (e.state == stateNew || e.state == stateAsked) }
	if !s.given && !slices.ContainsFunc(s.subscriptions.entries, waits) {
		s.frozen = nil
	}
}

func (s *session) unsubscribed(p *push) {
	for _, pattern := range p.Channels {
		if e := s.subscriptions.byName[pattern]; e != nil && e.preset {
			s.subscriptions.remove(pattern)
		} else if e != nil {
			e.state = stateRejected
		}
		s.emit(Rejected{pattern, p.Reason})
	}
}

func (s *session) live(p *push) {
	if s.group == nil || p.ID != s.group.id || p.offset() < 0 {
		return
	}
	for _, e := range s.group.serving {
		e.owed = false
	}
	s.group = nil
	s.high = max(s.high, p.offset())
}

func (s *session) refuse(p *push) {
	s.emit(Error{p.Code, p.Message})
	if s.flight == nil || p.ID != s.flight.command.ID {
		return
	}
	answer := &push{ID: p.ID}
	for _, e := range s.flight.entries {
		answer.Rejected = append(answer.Rejected, Rejected{e.pattern, p.Code})
	}
	s.acknowledge(answer)
}
