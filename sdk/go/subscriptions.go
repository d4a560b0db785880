package wsgateway

import "slices"

// state is what the gateway knows of a channel or pattern.
type state int

const (
	stateNew state = iota
	stateAsked
	stateHeld
	stateRejected
)

// entry is a channel or pattern.
type entry struct {
	pattern  string
	snapshot bool
	// preset: the token alone sets it; the user has not asked for it.
	preset bool
	state  state
	// joined: it takes part in the cursor, so that after a reconnect it is resumed, not begun anew.
	joined bool
	// Everything after this offset was promised by an acknowledgement; -1 before the first.
	promised int64
	// owed: last values are still to come.
	owed bool
	// had holds offsets that came since last values were asked for: a last value may come twice.
	had *recent[int64]
}

// group is the channels of a command that is catching up: all of theirs up to high has come.
type group struct {
	id      int64
	high    int64
	entries map[*entry]bool
	// serving are those for which last values are under way.
	serving []*entry
	// blind: messages may have come some other way, so they prove nothing.
	blind bool
}

// subscriptions is all entries, in the order in which they were added.
type subscriptions struct {
	entries []*entry
	byName  map[string]*entry
	routes  *recent[[]*entry]
}

func newSubscriptions() *subscriptions {
	return &subscriptions{byName: map[string]*entry{}, routes: newRecent[[]*entry](maxChannels)}
}

// add returns the entry of a pattern, new or not.
func (s *subscriptions) add(pattern string) (e *entry, isNew bool) {
	if e, ok := s.byName[pattern]; ok {
		return e, false
	}
	e = &entry{pattern: pattern, promised: -1, had: newRecent[int64](maxChannels)}
	s.entries = append(s.entries, e)
	s.byName[pattern] = e
	s.routes.clear()
	return e, true
}

func (s *subscriptions) remove(pattern string) *entry {
	e := s.byName[pattern]
	if e != nil {
		delete(s.byName, pattern)
		s.entries = slices.DeleteFunc(s.entries, func(other *entry) bool { return other == e })
		s.routes.clear()
	}
	return e
}

// pick returns the entries of which something is true.
func (s *subscriptions) pick(test func(*entry) bool) (picked []*entry) {
	for _, e := range s.entries {
		if test(e) {
			picked = append(picked, e)
		}
	}
	return picked
}

// held returns the acknowledged entries that a channel belongs to.
func (s *subscriptions) held(channel string) []*entry {
	route, known := s.routes.get(channel)
	if !known {
		route = s.pick(func(e *entry) bool { return matches(e.pattern, channel) })
		s.routes.set(channel, route)
	}
	held := make([]*entry, 0, len(route))
	for _, e := range route {
		if e.state == stateHeld {
			held = append(held, e)
		}
	}
	return held
}

// isFreshValue reports whether a last value is new to one of those who want it.
func isFreshValue(m Message, held []*entry, known *ledger) bool {
	wanted := false
	for _, e := range held {
		if !e.snapshot {
			continue
		}
		wanted = true
		if had, _ := e.had.get(m.Channel); m.Offset > had {
			return true
		}
	}
	// Unasked, a gateway repeats the values of channels with a maxRate when a cursor cannot tell whether they came.
	return !wanted && len(held) > 0 && m.Offset > known.last(m.Channel)
}
