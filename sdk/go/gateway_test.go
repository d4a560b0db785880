package wsgateway_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	wsgateway "github.com/wsgateway/wsgateway/sdk/go"
)

func equal(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

func TestChannelsAndPatternsComeInOrderWithWhatIsNoJSONAsBytes(t *testing.T) {
	t.Parallel()
	nats := startNats(t, nil)
	gateway := startGateway(t, nats, nil)
	r := connect(t, wsgateway.Options{}, []string{gateway.url()}, "BTC.price", "*.trade")
	r.subscribed(1)
	nats.publish("BTC.price", object{"n": 1})
	nats.publish("BTC.other", object{"n": 2})
	nats.publish("ETH.trade", []byte("\xff\x00"))
	r.received(2)
	messages := of[wsgateway.Message](r)
	equal(t, []any{messages[0].Channel, messages[0].Offset, string(messages[0].Data)}, []any{"BTC.price", int64(1), `{"n":1}`})
	equal(t, []any{messages[1].Channel, messages[1].Offset, string(messages[1].Data)}, []any{"ETH.trade", int64(3), "\xff\x00"})
	equal(t, []bool{messages[0].Binary, messages[1].Binary}, []bool{false, true})
}

func TestAChannelThatCannotBeIsRejectedAndTheOthersCome(t *testing.T) {
	t.Parallel()
	nats := startNats(t, nil)
	gateway := startGateway(t, nats, nil)
	r := connect(t, wsgateway.Options{}, []string{gateway.url()}, "a..b", strings.Repeat("x", 300), "good")
	r.until("the rejections", func() bool { return len(of[wsgateway.Rejected](r)) == 2 })
	equal(t, of[wsgateway.Rejected](r)[1].Code, "channel_too_long")
	nats.publish("good", object{"n": 1})
	r.received(1)
}

func TestLastValuesComeFirstOnceAlsoForASecondWish(t *testing.T) {
	t.Parallel()
	nats := startNats(t, nil)
	for n := range 10 {
		nats.publish(fmt.Sprintf("late.%d", n%5), object{"n": n})
	}
	gateway := startGateway(t, nats, nil) // afterwards, so that all of them are values from before
	r := connect(t, wsgateway.Options{}, []string{gateway.url()})
	r.client.SubscribeWithSnapshot("late.*")
	r.received(5)
	numbers := r.numbers()
	slices.Sort(numbers)
	equal(t, numbers, upTo(5, 9))
	r.client.SubscribeWithSnapshot("late.3")
	r.received(6)
	equal(t, r.numbers()[5], 8)
	nats.publish("late.3", object{"n": 10})
	r.received(7)
	last := of[wsgateway.Message](r)[6]
	equal(t, []any{string(last.Data), last.Snapshot, len(of[wsgateway.Gap](r))}, []any{`{"n":10}`, false, 0})
}

func TestChannelsComeAndGoOnOneConnection(t *testing.T) {
	t.Parallel()
	nats := startNats(t, nil)
	gateway := startGateway(t, nats, nil)
	r := connect(t, wsgateway.Options{}, []string{gateway.url()}, "one")
	r.subscribed(1)
	r.client.Unsubscribe("one")
	r.client.Subscribe("two")
	r.subscribed(2)
	nats.publish("one", object{"n": 1})
	nats.publish("two", object{"n": 2})
	r.received(1)
	equal(t, []any{r.numbers(), len(of[wsgateway.Opened](r))}, []any{[]int{2}, 1})
}

func TestTheCursorOfAQuietChannelStaysYoung(t *testing.T) {
	t.Parallel()
	nats := startNats(t, nil)
	gateway := startGateway(t, nats, nil)
	options := wsgateway.Options{PingAfter: 100 * time.Millisecond, PingTimeout: soon}
	r := connect(t, options, []string{gateway.url()}, "quiet")
	r.subscribed(1)
	var last int64
	for n := range 20 {
		last = nats.publish("busy", object{"n": n})
	}
	r.until("a young cursor", func() bool { return r.client.Cursor().Offset == last })
}

func TestAGatewayThatIsKilledAndComesBackCostsNothing(t *testing.T) {
	t.Parallel()
	nats := startNats(t, nil)
	gateway := startGateway(t, nats, nil)
	r := connect(t, wsgateway.Options{}, []string{gateway.url()}, "kill.a", "kill.quiet")
	r.subscribed(1)
	p := publish(nats, "kill.a")
	for round := 1; round <= 3; round++ {
		r.received(round * 50)
		gateway.end(syscall.SIGKILL)
		before := p.count.Load()
		r.until("messages that nobody delivers", func() bool { return p.count.Load() > before+20 })
		gateway.startAgain()
		r.subscribed(round + 1)
	}
	r.complete(p.stop())
	for i, one := range of[wsgateway.Subscribed](r) {
		equal(t, []bool{one.Resumed, one.Recovered}, []bool{i > 0, i > 0})
	}
}

func TestAStopIsFollowedByTheOtherGatewayWhenTheFirstOneAdvisesIt(t *testing.T) {
	t.Parallel()
	nats := startNats(t, nil)
	one := startGateway(t, nats, object{"drain": object{"window": 200}})
	other := startGateway(t, nats, nil)
	r := connect(t, wsgateway.Options{}, []string{one.url(), other.url()}, ">")
	r.subscribed(1)
	p := publish(nats, "drain.a")
	r.received(50)
	one.end(syscall.SIGTERM)
	r.subscribed(2)
	r.complete(p.stop())
	equal(t, []int{len(of[wsgateway.Closed](r)), of[wsgateway.Closed](r)[0].Code}, []int{1, 1012})
}

func TestConnectionsThatAreCutAgainAndAgainLoseNothingWhileOthersComeWithLastValues(t *testing.T) {
	t.Parallel()
	nats := startNats(t, nil)
	gateway := startGateway(t, nats, nil)
	relay := startRelay(t, gateway.port)
	r := connect(t, wsgateway.Options{}, []string{relay.url()}, "cut.*")
	r.subscribed(1)
	p := publish(nats, "cut.a")
	for round := 1; round <= 10; round++ {
		before := len(of[wsgateway.Message](r))
		other := fmt.Sprintf("other.%d", round)
		switch round % 3 {
		case 0:
			r.client.Unsubscribe(fmt.Sprintf("other.%d", round-1))
		case 1:
			r.client.SubscribeWithSnapshot(other)
		case 2:
			r.client.Subscribe(other)
		}
		r.received(before + 10)
		relay.cut()
	}
	count := p.stop()
	r.received(count)
	equal(t, r.numbers(), upTo(1, count))
	equal(t, len(of[wsgateway.Gap](r))+len(of[wsgateway.Rejected](r)), 0)
	equal(t, len(of[wsgateway.Opened](r)) >= 5, true)
}

func TestAHandlerThatDoesNotReturnIsCutOffAndGetsEverythingWhenItDoes(t *testing.T) {
	t.Parallel()
	nats := startNats(t, nil)
	gateway := startGateway(t, nats, object{"slowConsumer": object{"grace": 1000}})
	r := connect(t, wsgateway.Options{}, []string{gateway.url()}, "much")
	r.subscribed(1)
	r.mu.Lock() // the handler waits for it
	filling := strings.Repeat("x", 16_384)
	for n := range 1500 {
		nats.publish("much", object{"n": n, "filling": filling})
	}
	until(t, "the end of the connection", func() bool { return gateway.clients() == 0 }, func() any { return gateway.clients() })
	r.mu.Unlock()
	r.received(1500)
	equal(t, r.numbers(), upTo(0, 1499))
	equal(t, len(of[wsgateway.Gap](r)), 0)
}

func TestAValueThatWaitsForItsRateWhenTheConnectionIsCutComesAfterIt(t *testing.T) {
	t.Parallel()
	nats := startNats(t, nil)
	rules := []object{{"match": "slow.*", "delivery": "Latest", "maxRate": 1}}
	gateway := startGateway(t, nats, object{"channels": object{"stripPrefix": prefix, "rules": rules}})
	relay := startRelay(t, gateway.port)
	r := connect(t, wsgateway.Options{}, []string{relay.url()}, "slow.a", "fast")
	r.subscribed(1)
	nats.publish("slow.a", object{"n": 1})
	nats.publish("slow.a", object{"n": 2})
	nats.publish("fast", object{"n": 3})
	r.until("the last one", func() bool { return slices.Contains(r.numbers(), 3) })
	relay.cut()
	r.received(3)
	numbers := r.numbers()
	slices.Sort(numbers)
	equal(t, numbers, upTo(1, 3))
}

func TestACursorThatWasKeptLetsTheNextClientGoOn(t *testing.T) {
	t.Parallel()
	nats := startNats(t, nil)
	gateway := startGateway(t, nats, nil)
	first := connect(t, wsgateway.Options{}, []string{gateway.url()}, "keep.a")
	first.subscribed(1)
	nats.publish("keep.a", object{"n": 1})
	first.received(1)
	equal(t, errors.Is(first.stop(), context.Canceled), true)
	nats.publish("keep.a", object{"n": 2})
	nats.publish("keep.a", object{"n": 3})
	second := connect(t, wsgateway.Options{Cursor: first.client.Cursor()}, []string{gateway.url()}, "keep.a")
	second.received(2)
	equal(t, second.numbers(), []int{2, 3})
	// While a message is handled the cursor is behind it, and behind no other.
	for i, event := range second.all() {
		if message, ok := event.(wsgateway.Message); ok {
			equal(t, second.cursors[i].Offset, message.Offset)
		}
	}
}

func TestRunGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	nats := startNats(t, nil)
	gateway := startGateway(t, nats, nil)
	r := connect(t, wsgateway.Options{}, []string{gateway.url()}, "pause.a")
	r.subscribed(1)
	nats.publish("pause.a", object{"n": 1})
	r.received(1)
	_ = r.stop()
	nats.publish("pause.a", object{"n": 2})
	r.run()
	r.complete(2)
}

func TestWhatTheStreamHasDiscardedIsAGapAndTheRestComes(t *testing.T) {
	t.Parallel()
	nats := startNats(t, object{"max_msgs": 10})
	gateway := startGateway(t, nats, nil)
	r := connect(t, wsgateway.Options{}, []string{gateway.url()}, "short.a")
	r.subscribed(1)
	nats.publish("short.a", object{"n": 1})
	r.received(1)
	gateway.end(syscall.SIGKILL)
	for n := 2; n <= 40; n++ {
		nats.publish("short.a", object{"n": n})
	}
	gateway.startAgain()
	r.received(11)
	equal(t, r.numbers(), append([]int{1}, upTo(31, 40)...))
	equal(t, of[wsgateway.Gap](r), []wsgateway.Gap{{Channel: "short.a", First: 2, Last: 30, Reason: "retention"}})
	last := of[wsgateway.Subscribed](r)[1]
	equal(t, []bool{last.Resumed, last.Recovered}, []bool{true, false})
}

func TestAStreamThatIsReplacedIsAGapAndTheNewOneIsFollowed(t *testing.T) {
	t.Parallel()
	nats := startNats(t, nil)
	gateway := startGateway(t, nats, nil)
	r := connect(t, wsgateway.Options{}, []string{gateway.url()}, "epoch.a")
	r.subscribed(1)
	nats.publish("epoch.a", object{"n": 1})
	r.received(1)
	before := r.client.Cursor().Epoch
	nats.deleteStream()
	nats.createStream(nil)
	r.until("the gap", func() bool { return len(of[wsgateway.Gap](r)) > 0 })
	equal(t, of[wsgateway.Gap](r)[0].Reason, "epoch")
	r.subscribed(2)
	nats.publish("epoch.a", object{"n": 2})
	r.received(2)
	equal(t, r.client.Cursor().Epoch != before, true)
}

func TestTokensOfSecondsAreExchangedUnderLiveMessagesAndNothingIsLost(t *testing.T) {
	t.Parallel()
	issuer, nats := newIssuer(t), startNats(t, nil)
	gateway := startGateway(t, nats, issuer.config())
	token := func(context.Context) (string, error) { return issuer.token(2), nil }
	r := connect(t, wsgateway.Options{TokenSource: token}, []string{gateway.url()}, "line.a")
	r.subscribed(1)
	p := publish(nats, "line.a")
	r.until("three more tokens", func() bool { return issuer.issued.Load() >= 4 })
	r.complete(p.stop())
	equal(t, []int{len(of[wsgateway.Opened](r)), len(of[wsgateway.Closed](r)), len(of[wsgateway.Error](r))}, []int{1, 0, 0})
}

func TestALoginThatIsAwayUntilTheTokenHasExpiredCostsAReconnectAndNothingElse(t *testing.T) {
	t.Parallel()
	issuer, nats := newIssuer(t), startNats(t, nil)
	gateway := startGateway(t, nats, issuer.config())
	var away atomic.Bool
	token := func(context.Context) (string, error) {
		if away.Load() {
			return "", errors.New("the login is away")
		}
		if away.Store(true); issuer.issued.Load() == 0 {
			return issuer.token(2), nil
		}
		return issuer.token(600), nil
	}
	r := connect(t, wsgateway.Options{TokenSource: token}, []string{gateway.url()}, "line.a")
	r.subscribed(1)
	p := publish(nats, "line.a")
	r.until("the end of the token", func() bool {
		return slices.ContainsFunc(of[wsgateway.Closed](r), func(c wsgateway.Closed) bool { return c.Code == 4004 })
	})
	away.Store(false)
	r.subscribed(2)
	r.complete(p.stop())
	equal(t, of[wsgateway.Error](r)[0].Code, "token_unavailable")
	equal(t, strings.Contains(fmt.Sprint(r.all()), "the login is away"), false)
}

func TestARefusedTokenThatCannotChangeEndsRunAndIsInNoText(t *testing.T) {
	t.Parallel()
	issuer, nats := newIssuer(t), startNats(t, nil)
	gateway := startGateway(t, nats, issuer.config())
	token := newIssuer(t).token(600)
	r := connect(t, wsgateway.Options{Token: token}, []string{gateway.url()}, "line.a")
	r.refused(4001)
	equal(t, strings.Contains(fmt.Sprint(r.all(), r.err, gateway.log()), token[len(token)-20:]), false)
}

func TestARefusedTokenOfAFunctionIsExchangedForAFreshOneAtOnce(t *testing.T) {
	t.Parallel()
	issuer, other, nats := newIssuer(t), newIssuer(t), startNats(t, nil)
	gateway := startGateway(t, nats, issuer.config())
	token := func(context.Context) (string, error) {
		if other.issued.Load() == 0 {
			return other.token(600), nil
		}
		return issuer.token(600), nil
	}
	r := connect(t, wsgateway.Options{TokenSource: token}, []string{gateway.url()}, "line.a")
	r.subscribed(1)
	equal(t, []int{len(of[wsgateway.Closed](r)), of[wsgateway.Closed](r)[0].Code}, []int{1, 4001})
}
