package wsgateway

// The session against a gateway of a few lines, with cuts, replays and live messages in random orders.

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

// frame is what the gateway of the simulation sends.
type frame struct {
	Type       string         `json:"type"`
	ID         int64          `json:"id,omitempty"`
	Epoch      string         `json:"epoch,omitempty"`
	Limits     map[string]int `json:"limits,omitempty"`
	Channel    string         `json:"channel,omitempty"`
	Offset     int64          `json:"offset"`
	Prev       int64          `json:"prev"`
	Subscribed []string       `json:"subscribed,omitempty"`
	Recovered  *bool          `json:"recovered,omitempty"`
}

// simulation is a stream with one connection at a time, a session, and what came out of it. Frames come from one of the
// connection's queues, whichever chance picks.
type simulation struct {
	t      *testing.T
	seed   uint64
	chance *rand.Rand

	stream        []string
	answers, live []frame
	channels      map[string]bool
	// catching is the command that is catching up: its id is 0 when there is none.
	catching         int64
	catchingChannels []string
	replay           []frame

	session *session
	now     time.Time
	wanted  []string
	got     map[string][]int64
	began   map[string]int64
}

func newSimulation(t *testing.T, seed uint64) *simulation {
	s := &simulation{t: t, seed: seed, chance: rand.New(rand.NewPCG(seed, 0)), session: newSession(nil), now: start}
	s.got, s.began = map[string][]int64{}, map[string]int64{}
	for _, name := range "abcdefgh" {
		// With names of this length, several commands are needed for a few channels.
		s.wanted = append(s.wanted, string(name)+"."+strings.Repeat("x", 200))
	}
	s.connect()
	return s
}

func (s *simulation) connect() {
	s.answers = []frame{{Type: "connection:established", Epoch: "e", Limits: map[string]int{"commandBytes": 1100}}}
	s.live, s.replay, s.channels, s.catching, s.catchingChannels = nil, nil, map[string]bool{}, 0, nil
}

func (s *simulation) message(offset int64) frame {
	channel, prev := s.stream[offset-1], int64(0)
	for n, other := range s.stream[:offset-1] {
		if other == channel {
			prev = int64(n + 1)
		}
	}
	return frame{Type: "message", Channel: channel, Offset: offset, Prev: prev}
}

func (s *simulation) publish(channel string) {
	s.stream = append(s.stream, channel)
	message := s.message(int64(len(s.stream)))
	if s.channels[channel] {
		s.live = append(s.live, message)
	}
	for _, other := range s.catchingChannels {
		if other == channel {
			s.replay = append(s.replay, message)
		}
	}
}

func (s *simulation) take(c command) {
	answer := frame{Type: "subscription_ack", ID: c.ID, Subscribed: c.Channels, Offset: int64(len(s.stream))}
	if c.Resume == nil {
		for _, channel := range c.Channels {
			s.channels[channel] = true
		}
		s.live = append(s.live, answer) // behind what is under way
		return
	}
	yes := true
	answer.Offset, answer.Recovered = c.Resume.Offset, &yes
	s.answers, s.catching, s.catchingChannels = append(s.answers, answer), c.ID, c.Channels
	for n, other := range s.stream {
		for _, channel := range c.Channels {
			if int64(n+1) > c.Resume.Offset && other == channel {
				s.replay = append(s.replay, s.message(int64(n+1)))
			}
		}
	}
}

func pop(queue *[]frame) *frame {
	first := (*queue)[0]
	*queue = (*queue)[1:]
	return &first
}

// sent is up to where everything has been sent.
func (s *simulation) sent() int64 {
	offset := int64(len(s.stream))
	for _, queue := range [][]frame{s.live, s.replay} {
		for _, one := range queue {
			if one.Type == "message" {
				offset = min(offset, one.Offset-1)
			}
		}
	}
	return offset
}

// next is the next frame, or nil when there is nothing to send.
func (s *simulation) next() *frame {
	if len(s.answers) > 0 {
		return pop(&s.answers)
	}
	if s.catching != 0 && len(s.replay) == 0 && s.chance.IntN(2) == 0 {
		for _, channel := range s.catchingChannels {
			s.channels[channel] = true
		}
		id := s.catching
		s.catching, s.catchingChannels = 0, nil
		return &frame{Type: "live", ID: id, Offset: s.sent()}
	}
	// A replay may be behind what is live, and is never ahead of it.
	replay := len(s.replay) > 0
	for _, one := range s.live {
		replay = replay && one.Offset > s.replay[0].Offset
	}
	switch {
	case replay && (len(s.live) == 0 || s.chance.IntN(2) == 0):
		return pop(&s.replay)
	case len(s.live) > 0:
		return pop(&s.live)
	case s.chance.IntN(3) == 0:
		return &frame{Type: "pong", Offset: s.sent()}
	}
	return nil
}

func (s *simulation) step(all []string, quiet bool) {
	s.now = s.now.Add(time.Second)
	action := s.chance.Float64()
	switch {
	case !quiet && action < 0.3:
		s.publish(all[s.chance.IntN(len(all))])
	case !quiet && action < 0.35:
		s.session.ended()
		s.connect()
	case len(s.wanted) > 0 && action < 0.45:
		s.session.subscribe(s.wanted[:1], false)
		s.wanted = s.wanted[1:]
	default:
		if frame := s.next(); frame != nil {
			text, _ := json.Marshal(frame)
			s.session.receive(text)
		}
	}
	for quiet || s.chance.Float64() < 0.9 {
		if !s.event() {
			break
		}
	}
	for _, c := range s.session.commands(s.now) {
		s.take(c)
	}
}

func (s *simulation) event() bool {
	event := s.session.poll()
	switch event := event.(type) {
	case Message:
		s.got[event.Channel] = append(s.got[event.Channel], event.Offset)
	case Subscribed:
		for _, channel := range event.Channels {
			if !event.Resumed {
				s.began[channel] = event.Offset
			}
		}
	case Gap, Error, Rejected:
		s.t.Fatalf("seed %d: %+v", s.seed, event)
	}
	return event != nil
}

func TestWhateverComesInBetweenEveryMessageComesOnceAndInOrder(t *testing.T) {
	for seed := range uint64(300) {
		s := newSimulation(t, seed)
		all := s.wanted
		for range 300 {
			s.step(all, false)
		}
		for n := 0; len(s.wanted) > 0 || !s.session.settled() || len(s.live) > 0; n++ {
			if n > 10_000 {
				t.Fatalf("seed %d does not come to an end", seed)
			}
			s.step(all, true)
		}
		for _, channel := range all {
			var expected []int64
			for n, other := range s.stream {
				if other == channel && int64(n+1) > s.began[channel] {
					expected = append(expected, int64(n+1))
				}
			}
			if !reflect.DeepEqual(s.got[channel], expected) {
				t.Fatalf("seed %d, %s: got %v, want %v", seed, channel[:1], s.got[channel], expected)
			}
		}
	}
}
