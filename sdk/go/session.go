package wsgateway

import (
	"math"
	"slices"
	"time"
)

// session is the protocol above any socket: frames and the time come in, events and commands go out.
//
// One command at a time catches up. Until it is live the cursor is not ahead of what it has brought, so that a
// connection that ends anywhere is resumed without a loss. Pushes are handled one by one, as events are taken: the cursor
// is never ahead of the event that was taken last.
type session struct {
	greeted bool
	// duplicates counts messages that came again and were dropped.
	duplicates int64

	subscriptions *subscriptions
	ledger        *ledger
	inbox         []*push
	events        []Event

	epoch string
	// frozen is where to resume, while not everything has been resumed.
	frozen *Cursor
	// given: the cursor came from outside, and the first channels resume from it, too.
	given bool
	// high is the highest offset of an acknowledgement or a message on this epoch; -1 before the first.
	high  int64
	group *group

	commander
}

func newSession(cursor *Cursor) *session {
	return &session{
		subscriptions: newSubscriptions(),
		ledger:        newLedger(maxChannels),
		frozen:        cursor,
		given:         cursor != nil,
		high:          -1,
		commander:     commander{bytes: defaultCommandBytes, cost: costOf(defaultCommandRate)},
	}
}

// cursor is where to resume; nil before anything is known.
func (s *session) cursor() *Cursor {
	if s.frozen != nil || s.high < 0 {
		return s.frozen
	}
	offset := s.high
	if s.group != nil {
		offset = min(offset, s.group.high)
	}
	return &Cursor{s.epoch, offset}
}

// settled reports that everything wanted is acknowledged and live.
func (s *session) settled() bool {
	busy := func(e *entry) bool { return e.state == stateNew || e.state == stateAsked }
	return s.greeted && s.flight == nil && s.group == nil && !slices.ContainsFunc(s.subscriptions.entries, busy)
}

func (s *session) subscribe(channels []string, snapshot bool) {
	for _, pattern := range channels {
		e, _ := s.subscriptions.add(pattern)
		e.preset = false
		if e.state == stateRejected {
			e.state = stateNew
		}
		if snapshot {
			e.snapshot, e.owed = true, true
			e.had.clear()
			if s.group != nil {
				s.group.serving = slices.DeleteFunc(s.group.serving, func(one *entry) bool { return one == e })
			}
		}
	}
}

// unsubscribe: none of the channels' messages is an event from here on.
func (s *session) unsubscribe(channels []string) {
	for _, pattern := range channels {
		e := s.subscriptions.remove(pattern)
		if e == nil || (e.state != stateHeld && e.state != stateAsked) {
			continue
		}
		s.leaving = append(s.leaving, pattern)
		if s.group != nil {
			s.group.blind = true // messages under way look like those of the command that is catching up
		}
	}
}

// receive takes a frame in. Its events come out of poll.
func (s *session) receive(frame []byte) {
	pushes, err := parse(frame)
	s.inbox = append(s.inbox, pushes...)
	if err != nil {
		s.events = append(s.events, Error{"bad_frame", err.Error()})
	}
}

// poll returns the next event, or nil when a frame is needed.
func (s *session) poll() Event {
	for len(s.events) == 0 && len(s.inbox) > 0 {
		p := s.inbox[0]
		s.inbox = s.inbox[1:]
		s.take(p)
	}
	if len(s.events) == 0 {
		return nil
	}
	event := s.events[0]
	s.events = s.events[1:]
	return event
}

// ended is called when the connection has ended: what it held has to be asked for again.
func (s *session) ended() {
	s.frozen = s.cursor()
	s.high = -1
	if s.frozen != nil && s.frozen.Epoch == s.epoch {
		s.high = s.frozen.Offset
	}
	s.greeted, s.group, s.inbox = false, nil, nil
	s.commander.reset()
	for _, e := range s.subscriptions.entries {
		e.state = stateNew
	}
}

func (s *session) emit(event Event) { s.events = append(s.events, event) }

func (s *session) take(p *push) {
	switch p.Type {
	case "message":
		s.message(p)
	case "connection:established":
		s.greet(p)
	case "subscription_ack":
		s.acknowledge(p)
	case "live":
		s.live(p)
	case "gap":
		s.gap(p)
	case "unsubscribed":
		s.unsubscribed(p)
	case "auth_ack":
		s.preset(p)
	case "pong":
		s.pong(p)
	case "error":
		s.refuse(p)
	case "reconnect":
		s.emit(Reconnect{milliseconds(p.AfterMs), p.Reason})
	case "token_expiring":
		s.emit(TokenExpiring{time.UnixMilli(p.ExpiresAt)})
	}
}

func (s *session) greet(p *push) {
	s.limit(p.Limits.CommandBytes, p.Limits.CommandsPerSecond)
	if p.Epoch != "" && p.Epoch != s.epoch {
		s.forget()
		s.epoch = p.Epoch
	}
	s.greeted = true
	s.emit(Opened{p.Epoch, p.ConnectionID, p.Pod})
	s.preset(p)
}

// forget is for when offsets from before mean nothing any more.
func (s *session) forget() {
	s.group, s.high = nil, -1
	s.ledger.clear()
	for _, e := range s.subscriptions.entries {
		e.promised = -1
		e.had.clear()
	}
}

// pong: everything up to its offset has been sent.
func (s *session) pong(p *push) {
	if p.offset() < 0 || s.frozen != nil || s.high < 0 {
		return
	}
	if s.group != nil {
		s.group.high = max(s.group.high, p.offset())
	}
	s.high = max(s.high, p.offset())
}

func (s *session) gap(p *push) {
	if p.Channel == "" || p.From == nil || p.To == nil || *p.From < 0 || *p.To < 0 {
		return
	}
	if isPattern(p.Channel) {
		for _, e := range s.subscriptions.entries {
			if e.promised >= 0 && matches(e.pattern, p.Channel) {
				e.promised = max(e.promised, *p.To)
			}
		}
	} else {
		s.ledger.record(p.Channel, 0, *p.To)
	}
	s.emit(Gap{p.Channel, *p.From, *p.To, p.Reason})
}

func (s *session) message(p *push) {
	m, err := decoded(p)
	if err != nil {
		s.emit(Error{"bad_message", err.Error()})
		return
	}
	held := s.subscriptions.held(m.Channel)
	if m.Snapshot {
		if !isFreshValue(m, held, s.ledger) {
			return
		}
		if !slices.ContainsFunc(held, func(e *entry) bool { return e.snapshot }) {
			s.ledger.record(m.Channel, m.Offset, 0) // it may come again after the next reconnect
		}
		s.deliver(m, held)
		return
	}
	if len(held) == 0 {
		return // unsubscribed meanwhile, or to be resumed first
	}
	if m.Offset <= s.ledger.last(m.Channel) {
		s.duplicates++
		return
	}
	if from, missed := s.ledger.hole(m.Channel, m.Prev, promised(held)); missed {
		// The message itself comes with the next event, and so does the cursor behind it.
		s.ledger.record(m.Channel, 0, m.Prev)
		s.inbox = append([]*push{p}, s.inbox...)
		s.emit(Gap{m.Channel, from, m.Prev, "missed"})
		return
	}
	s.ledger.record(m.Channel, m.Offset, 0)
	if g := s.group; g != nil && !g.blind && !slices.ContainsFunc(held, func(e *entry) bool { return !g.entries[e] }) {
		g.high = max(g.high, m.Offset) // nothing else can have brought it
	}
	s.high = max(s.high, m.Offset)
	s.deliver(m, held)
}

// promised is the least offset after which everything was to be delivered; 0 when nothing was promised.
func promised(held []*entry) int64 {
	least := int64(math.MaxInt64)
	for _, e := range held {
		if e.promised >= 0 {
			least = min(least, e.promised)
		}
	}
	if least == math.MaxInt64 {
		return 0
	}
	return least
}

func (s *session) deliver(m Message, held []*entry) {
	for _, e := range held {
		if e.snapshot {
			had, _ := e.had.get(m.Channel)
			e.had.set(m.Channel, max(had, m.Offset))
		}
	}
	s.emit(m)
}
