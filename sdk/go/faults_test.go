package wsgateway_test

// Servers that refuse, hang, close in the middle and send rubbish; and a line that is dead without being closed.

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	wsgateway "github.com/wsgateway/wsgateway/sdk/go"
)

// peer is the other side of a connection.
type peer struct {
	t      *testing.T
	socket *websocket.Conn
}

func (p peer) send(frames ...any) {
	for _, frame := range frames {
		text, isText := frame.(string)
		if !isText {
			text = string(must[[]byte](p.t)(json.Marshal(frame)))
		}
		_ = p.socket.Write(context.Background(), websocket.MessageText, []byte(text))
	}
}

func (p peer) greet() {
	p.send(object{"type": "connection:established", "epoch": "e", "connectionId": "c", "pod": "p"})
}

// acknowledge takes a subscribe and answers it; returns the command.
func (p peer) acknowledge(offset int, more object) (command object) {
	_, text, _ := p.socket.Read(context.Background())
	_ = json.Unmarshal(text, &command)
	answer := object{"type": "subscription_ack", "id": command["id"], "subscribed": command["channels"], "offset": offset}
	for key, value := range more {
		answer[key] = value
	}
	p.send(answer)
	return command
}

// wait until the client has gone, and answer nothing.
func (p peer) wait() {
	for {
		if _, _, err := p.socket.Read(context.Background()); err != nil {
			return
		}
	}
}

// stay until the client has gone, and show that the line is alive.
func (p peer) stay() {
	for {
		if _, _, err := p.socket.Read(context.Background()); err != nil {
			return
		}
		p.send(`{"type":"pong"}`)
	}
}

func message(n int) object {
	return object{"type": "message", "channel": "a", "offset": n, "prev": n - 1, "ts": 1, "data": object{"n": n}}
}

func good(p peer) {
	p.greet()
	p.acknowledge(0, nil)
	p.send(message(1))
	p.stay()
}

// serve starts a server whose connections behave one after the other; the last one for good.
func serve(t *testing.T, connections ...func(peer)) string {
	var count atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		socket, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"wsgateway.v1"}})
		if err != nil {
			return
		}
		defer socket.CloseNow()
		connections[min(int(count.Add(1)), len(connections))-1](peer{t, socket})
	}))
	t.Cleanup(server.Close)
	return "ws" + strings.TrimPrefix(server.URL, "http")
}

// answer starts a server that answers every connection with these bytes, and may then hang.
func answer(t *testing.T, text string, hang bool) string {
	listener := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			socket, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer socket.Close()
				_, _ = socket.Read(make([]byte, 4096))
				_, _ = io.WriteString(socket, text)
				if hang {
					_, _ = io.Copy(io.Discard, socket)
				}
			}()
		}
	}()
	return "ws://" + listener.Addr().String()
}

func refusal(status, body string) string {
	return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, len(body), body)
}

func reasons(r *recorder) (reasons []string) {
	for _, closed := range of[wsgateway.Closed](r) {
		reasons = append(reasons, closed.Reason)
	}
	return reasons
}

func TestAGatewayThatIsFullIsLeftAloneForAsLongAsItSaysAndTheNextOneIsAsked(t *testing.T) {
	t.Parallel()
	full := answer(t, refusal("503 Service Unavailable", `{"code":"full","message":"m","retryAfterMs":120}`), false)
	r := connect(t, wsgateway.Options{}, []string{full, serve(t, good)}, "a")
	r.received(1)
	closed := of[wsgateway.Closed](r)[0]
	equal(t, []any{closed.Code, closed.Reason, closed.RetryIn >= 120*time.Millisecond}, []any{1013, "HTTP 503 full", true})
}

func TestABanEndsRun(t *testing.T) {
	t.Parallel()
	banned := answer(t, refusal("403 Forbidden", `{"code":"banned","message":"m"}`), false)
	connect(t, wsgateway.Options{}, []string{banned}, "a").refused(4013)
}

func TestWhatSpeaksNoHTTPWhatRedirectsAndWhatIsNotThereAreAttemptsLikeAnyOther(t *testing.T) {
	t.Parallel()
	urls := []string{
		answer(t, "\x00\xff rubbish \r\n\r\n", false),
		answer(t, "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", false),
		"ws://127.0.0.1:1/secret?token=abc",
		serve(t, good),
	}
	r := connect(t, wsgateway.Options{}, urls, "a")
	r.received(1)
	equal(t, []any{len(reasons(r)), reasons(r)[1]}, []any{3, "HTTP 302"})
	equal(t, strings.Contains(fmt.Sprint(r.all()), "abc"), false)
}

func TestAServerThatHangsBeforeTheUpgradeOrBeforeTheGreetingIsGivenUp(t *testing.T) {
	t.Parallel()
	urls := []string{answer(t, "", true), serve(t, peer.wait)}
	r := connect(t, wsgateway.Options{ConnectTimeout: 300 * time.Millisecond}, urls, "a")
	for _, reason := range []string{"not connected in time", "not greeted in time"} {
		r.until(reason, func() bool { return slices.Contains(reasons(r), reason) })
	}
}

func TestALineThatIsDeadWithoutBeingClosedIsGivenUpAndResumed(t *testing.T) {
	t.Parallel()
	resumed := make(chan any, 1)
	dead := func(p peer) {
		p.greet()
		p.acknowledge(0, nil)
		p.send(message(1))
		p.wait() // pings are heard and not answered
	}
	alive := func(p peer) {
		p.greet()
		resumed <- p.acknowledge(1, object{"recovered": true})["resume"]
		p.send(message(1), message(2)) // a gateway may send twice what it is not sure of
		p.stay()
	}
	options := wsgateway.Options{PingAfter: 200 * time.Millisecond, PingTimeout: time.Second}
	r := connect(t, options, []string{serve(t, dead, alive)}, "a")
	r.received(2)
	equal(t, reasons(r)[0], "no answer in time")
	equal(t, <-resumed, object{"epoch": "e", "offset": 1.0})
	equal(t, []any{r.numbers(), r.client.Duplicates()}, []any{[]int{1, 2}, int64(1)})
}

func TestACloseInTheMiddleOfCatchingUpIsResumedFromWhatHadCome(t *testing.T) {
	t.Parallel()
	var count atomic.Int64
	begin := func(p peer) {
		p.greet()
		p.acknowledge(0, nil)
	}
	cut := func(p peer) {
		p.greet()
		n := int(count.Add(1))
		resume, _ := p.acknowledge(n-1, object{"recovered": true})["resume"].(object)
		if resume["offset"] != float64(n-1) {
			t.Errorf("resumed from %v, not from %d", resume, n-1)
		}
		p.send(message(n))
	}
	r := connect(t, wsgateway.Options{}, []string{serve(t, begin, cut)}, "a")
	r.received(5)
	equal(t, r.numbers()[:5], upTo(1, 5))
}

func TestRubbishIsAnErrorEachAndWhatFollowsComes(t *testing.T) {
	t.Parallel()
	rubbish := func(p peer) {
		p.greet()
		p.acknowledge(0, nil)
		p.send("no json", "7", "[]", strings.Repeat("[", 100_000), "\xff\xfe", `{"type":"message"}`, `{"type":[]}`)
		p.send(`{"type":"message","channel":"a","offset":-1}`, `{"type":"message","channel":"a","offset":1e300}`)
		p.send(object{"type": "message", "channel": "a", "offset": 9, "encoding": "base64", "data": "!"})
		p.send(object{"type": "batch", "messages": []any{1, message(1)}}, "{}", `{"type":"gap"}`, `{"type":"live"}`)
		for _, kind := range []string{"message", "gap", "batch", "live", "pong", "subscription_ack", "unsubscribed"} {
			p.send(object{"type": kind, "channels": object{}, "messages": 1, "id": []int{}})
		}
		p.send(message(1))
		p.wait()
	}
	r := connect(t, wsgateway.Options{}, []string{serve(t, rubbish)}, "a")
	r.received(1)
	equal(t, r.numbers(), []int{1})
	equal(t, []any{len(of[wsgateway.Error](r)) >= 15, len(of[wsgateway.Opened](r))}, []any{true, 1})
}

func TestAFrameThatIsTooBigEndsRun(t *testing.T) {
	t.Parallel()
	big := func(p peer) {
		p.greet()
		p.send(object{"type": "x", "data": strings.Repeat("x", 17<<20)})
		p.wait()
	}
	connect(t, wsgateway.Options{}, []string{serve(t, big)}, "a").refused(1009)
}

func TestAdviceIsFollowedToTheTime(t *testing.T) {
	t.Parallel()
	drain := func(p peer) {
		p.greet()
		p.acknowledge(0, nil)
		p.send(`{"type":"reconnect","afterMs":300,"reason":"drain"}`)
		_ = p.socket.Close(1012, "")
	}
	options := wsgateway.Options{Backoff: wsgateway.Backoff{Base: time.Hour, Cap: time.Hour}}
	r := connect(t, options, []string{serve(t, drain, good)}, "a")
	r.received(1)
	equal(t, of[wsgateway.Reconnect](r), []wsgateway.Reconnect{{After: 300 * time.Millisecond, Reason: "drain"}})
	wait := of[wsgateway.Closed](r)[0].RetryIn
	equal(t, wait > 0 && wait <= 300*time.Millisecond, true)
}

func TestTheGatewayMayEndItAndAStopLeavesNothingOpen(t *testing.T) {
	t.Parallel()
	bye := func(p peer) {
		p.greet()
		_ = p.socket.Close(websocket.StatusNormalClosure, "bye")
	}
	r := connect(t, wsgateway.Options{}, []string{serve(t, bye)}, "a")
	r.until("the end", func() bool { return slices.Contains(reasons(r), "bye") })
	equal(t, r.stop(), nil)
	gone := make(chan struct{})
	r = connect(t, wsgateway.Options{}, []string{serve(t, func(p peer) { good(p); close(gone) })}, "a")
	r.received(1)
	_ = r.stop()
	<-gone
}
