package wsgateway

// The core without sockets: frames and times in, events and commands out.

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"testing"
	"time"
)

var start = time.Unix(1_700_000_000, 0)

func expect(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

// feed takes a frame in, and returns its events.
func feed(s *session, frame string) (events []Event) {
	s.receive([]byte(frame))
	for event := s.poll(); event != nil; event = s.poll() {
		events = append(events, event)
	}
	return events
}

func text(channel string, offset, prev int64) string {
	return fmt.Sprintf(`{"type":"message","channel":%q,"offset":%d,"prev":%d,"ts":1,"data":1}`, channel, offset, prev)
}

func greetedSession(cursor *Cursor, channels ...string) *session {
	s := newSession(cursor)
	s.subscribe(channels, false)
	feed(s, `{"type":"connection:established","epoch":"e","limits":{"commandsPerSecond":10,"commandBytes":65536}}`)
	return s
}

func TestPatternsMatchAsThoseOfNATS(t *testing.T) {
	for _, c := range []struct {
		one, other string
		match      bool
	}{
		{"a.b", "a.b", true}, {"a.*", "a.b", true}, {"a.*", "a.b.c", false}, {"a.>", "a.b.c", true}, {"a.>", "a", false},
		{">", "a", true}, {"*.b", "a.*", true}, {"a", "a.b", false}, {"a.b", "a", false},
	} {
		expect(t, [2]any{c, matches(c.one, c.other)}, [2]any{c, c.match})
	}
}

func TestAListIsCutSoThatEveryPartFitsAsJSON(t *testing.T) {
	channels := []string{"a", "<ü>", "c"}
	n := first(channels, 24)
	whole, _ := json.Marshal(channels[:n])
	expect(t, []bool{len(whole) <= 26, n >= 1, first(channels, 1) == 1, first(channels, 1000) == 3}, []bool{true, true, true, true})
}

func TestALedgerForgetsTheOldestAndReportsNoHoleThatItCannotKnow(t *testing.T) {
	l := newLedger(2)
	for i, channel := range []string{"a", "b", "c"} {
		l.record(channel, int64(i+1), 0)
	}
	expect(t, []int64{l.last("a"), l.last("b"), l.last("c")}, []int64{0, 2, 3})
	_, found := l.hole("a", 1, 0)
	from, also := l.hole("b", 5, 0)
	expect(t, []any{found, also, from}, []any{false, true, int64(3)})
}

func TestDelaysAreRandomBelowACeilingThatDoublesAndCodesThatStayEndIt(t *testing.T) {
	b := Backoff{Base: time.Second, Cap: 8 * time.Second}
	for attempt, want := range map[int]time.Duration{0: 1, 1: 2, 2: 4, 3: 8, 9999: 8} {
		got, again := b.delay(end{code: codeAbnormal}, attempts{useless: attempt}, 1)
		expect(t, []any{got, again}, []any{want * time.Second, true})
	}
	for _, code := range []int{1000, 1003, 1007, 1009, 4010, 4013, 4001, 4004} {
		_, again := b.delay(end{code: code}, attempts{useless: 1}, 0.5)
		expect(t, []any{code, again}, []any{code, false})
	}
	for _, c := range []struct {
		end    end
		so     attempts
		chance float64
		want   time.Duration
	}{
		{end{code: codeTooManyCommands}, attempts{}, 0, 5 * time.Second},
		{end{code: codeRestart, advised: time.Second, isAdvised: true}, attempts{useless: 1}, 1, time.Second},
		{end{code: codeOverloaded, advised: time.Hour, isAdvised: true}, attempts{}, 0, 2 * time.Minute},
		{end{code: codeUnauthorized}, attempts{5, 1, true}, 1, time.Second},
		{end{code: codeUnauthorized}, attempts{0, 2, true}, 0, 5 * time.Second},
	} {
		got, _ := b.delay(c.end, c.so, c.chance)
		expect(t, got, c.want)
	}
}

func TestRefusalsBeforeTheUpgradeMeanWhatCloseCodesMean(t *testing.T) {
	for _, c := range []struct {
		status            int
		body, retry, want string
	}{
		{401, `{"code":"token_missing"}`, "", "4001 HTTP 401 token_missing false"},
		{403, `{"code":"banned"}`, "3", "1013 HTTP 403 banned true"},
		{403, `{"code":"banned"}`, "", "4013 HTTP 403 banned false"},
		{429, `[]`, "-1", "1013 HTTP 429 false"},
		{404, ``, "", "1006 HTTP 404 false"},
	} {
		e := fromHTTP(&http.Response{StatusCode: c.status, Header: http.Header{"Retry-After": {c.retry}}}, []byte(c.body))
		expect(t, fmt.Sprint(e.code, " ", e.reason, " ", e.isAdvised), c.want)
	}
}

func TestCommandsKeepToTheRateOfTheGateway(t *testing.T) {
	s := greetedSession(nil)
	sent := 0
	for n := range 30 {
		s.subscribe([]string{fmt.Sprintf("c.%d", n)}, false)
		for _, c := range s.commands(start) {
			sent++
			channels, _ := json.Marshal(c.Channels)
			feed(s, fmt.Sprintf(`{"type":"subscription_ack","id":%d,"subscribed":%s,"offset":1}`, c.ID, channels))
		}
	}
	expect(t, []any{sent <= 10, len(s.commands(s.wakeAt))}, []any{true, 1})
}

func TestTheCursorStaysBehindTheCommandThatIsCatchingUp(t *testing.T) {
	s := greetedSession(&Cursor{"e", 10}, "a")
	expect(t, s.commands(start)[0].Resume, &Cursor{"e", 10})
	feed(s, `{"type":"subscription_ack","id":1,"subscribed":["a"],"offset":10,"recovered":true}`)
	feed(s, text("a", 12, 9))
	expect(t, s.cursor(), &Cursor{"e", 12})
	feed(s, `{"type":"live","id":1,"offset":20}`)
	s.subscribe([]string{"b"}, true)
	s.commands(start.Add(time.Second))
	feed(s, `{"type":"subscription_ack","id":2,"subscribed":["b"],"offset":21}`)
	feed(s, text("a", 30, 12))
	expect(t, s.cursor(), &Cursor{"e", 21})
	s.ended()
	expect(t, s.cursor(), &Cursor{"e", 21})
}

func TestEventsOfABatchMoveTheCursorOneByOne(t *testing.T) {
	s := greetedSession(nil, "a")
	s.commands(start)
	feed(s, `{"type":"subscription_ack","id":1,"subscribed":["a"],"offset":0}`)
	s.receive([]byte(`{"type":"batch","messages":[` + text("a", 1, 0) + "," + text("a", 2, 1) + `]}`))
	s.poll()
	expect(t, s.cursor(), &Cursor{"e", 1})
	s.ended() // the second one was not taken: it comes again
	expect(t, s.cursor(), &Cursor{"e", 1})
}

func TestAHoleThatNobodyReportedIsAGap(t *testing.T) {
	s := greetedSession(nil, "a")
	s.commands(start)
	feed(s, `{"type":"subscription_ack","id":1,"subscribed":["a"],"offset":5}`)
	expect(t, len(feed(s, text("a", 7, 5))), 1)
	s.receive([]byte(text("a", 12, 10)))
	expect(t, s.poll(), Gap{"a", 8, 10, "missed"})
	expect(t, s.cursor(), &Cursor{"e", 7})
	expect(t, s.poll().(Message).Offset, s.cursor().Offset)
	feed(s, `{"type":"gap","channel":"a","from":13,"to":20,"reason":"slow_consumer"}`)
	expect(t, len(feed(s, text("a", 21, 20))), 1)
}

func TestAValueThatNobodyAskedForComesOnce(t *testing.T) {
	s := greetedSession(nil, "a")
	s.commands(start)
	feed(s, `{"type":"subscription_ack","id":1,"subscribed":["a"],"offset":5}`)
	expect(t, len(feed(s, text("a", 6, 0))), 1)
	for i, offset := range []int{6, 7, 7} {
		events := feed(s, fmt.Sprintf(`{"type":"message","channel":"a","offset":%d,"snapshot":true,"data":1}`, offset))
		expect(t, len(events), []int{0, 1, 0}[i])
	}
}

func TestLastValuesThatAResumeDoesNotBringAreAskedForAfterwards(t *testing.T) {
	s := newSession(&Cursor{"e", 10})
	s.subscribe([]string{"a"}, true)
	feed(s, `{"type":"connection:established","epoch":"e"}`)
	c := s.commands(start)[0]
	expect(t, []any{c.Snapshot, c.Resume}, []any{true, &Cursor{"e", 10}})
	feed(s, `{"type":"subscription_ack","id":1,"subscribed":["a"],"offset":10,"recovered":true}`)
	feed(s, `{"type":"live","id":1,"offset":12}`)
	c = s.commands(start)[0]
	expect(t, []any{c.Snapshot, c.Resume == nil, c.Channels}, []any{true, true, []string{"a"}})
	feed(s, `{"type":"subscription_ack","id":2,"subscribed":["a"],"offset":12}`)
	expect(t, len(feed(s, `{"type":"message","channel":"a","offset":9,"snapshot":true,"data":1}`)), 1)
	feed(s, `{"type":"live","id":2,"offset":12}`)
	expect(t, []any{len(s.commands(start)), s.cursor(), s.settled()}, []any{0, &Cursor{"e", 12}, true})
}

func TestARejectedChannelIsAskedForAgainOnTheNextConnection(t *testing.T) {
	s := greetedSession(nil, "a", "b")
	s.commands(start)
	events := feed(s, `{"type":"subscription_ack","id":1,"subscribed":["a"],"rejected":[{"channel":"b","code":"not_allowed"}],"offset":5}`)
	expect(t, events[0], Rejected{"b", "not_allowed"})
	expect(t, len(s.commands(start)), 0)
	s.ended()
	feed(s, `{"type":"connection:established","epoch":"e"}`)
	c := s.commands(start)[0]
	expect(t, []any{c.Channels, c.Resume}, []any{[]string{"a"}, &Cursor{"e", 5}})
	feed(s, `{"type":"subscription_ack","id":2,"subscribed":["a"],"offset":5,"recovered":true}`)
	feed(s, `{"type":"live","id":2,"offset":5}`)
	expect(t, s.commands(start)[0].Channels, []string{"b"})
}

func TestChannelsThatTheTokenSetsAreDeliveredAndResumed(t *testing.T) {
	s := newSession(nil)
	feed(s, `{"type":"connection:established","epoch":"e","subscribed":["user.ann"],"offset":3}`)
	expect(t, len(s.commands(start)), 0)
	expect(t, len(feed(s, text("user.ann", 4, 3))), 1)
	s.ended()
	feed(s, `{"type":"connection:established","epoch":"e","subscribed":["user.ann"],"offset":9}`)
	expect(t, len(feed(s, text("user.ann", 10, 5))), 0) // comes again, behind what was missed
	c := s.commands(start)[0]
	expect(t, c.Resume, &Cursor{"e", 4})
	feed(s, `{"type":"subscription_ack","id":1,"subscribed":["user.ann"],"offset":4,"recovered":true}`)
	expect(t, []int{len(feed(s, text("user.ann", 5, 4))), len(feed(s, text("user.ann", 10, 5)))}, []int{1, 1})
}

func FuzzNoFrameStopsASession(f *testing.F) {
	f.Add([]byte(`{"type":"batch","messages":[{"type":"message","channel":"a","offset":1}]}`))
	f.Add([]byte(`{"type":"subscription_ack","id":1,"subscribed":["a"],"offset":-5,"recovered":false}`))
	f.Fuzz(func(_ *testing.T, frame []byte) {
		s := greetedSession(&Cursor{"e", 10}, "a")
		s.commands(start)
		feed(s, string(frame))
		s.cursor()
		s.ended()
	})
}
