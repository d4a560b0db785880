package wsgateway_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	wsgateway "github.com/wsgateway/wsgateway/sdk/go"
)

// recorder is a client whose events are written down.
type recorder struct {
	t      *testing.T
	client *wsgateway.Client
	stop   func() error

	mu      sync.Mutex
	events  []wsgateway.Event
	cursors []*wsgateway.Cursor
	err     error
	ended   bool
}

// connect runs a client until the test ends. It retries within a tenth of a second, so that a test waits for servers, not
// for the backoff.
func connect(t *testing.T, options wsgateway.Options, urls []string, channels ...string) *recorder {
	t.Helper()
	if options.Backoff.Base == 0 {
		options.Backoff = wsgateway.Backoff{Base: 20 * time.Millisecond, Cap: 100 * time.Millisecond}
	}
	r := &recorder{t: t, client: wsgateway.New(options, urls...)}
	r.client.Subscribe(channels...)
	r.run()
	return r
}

func (r *recorder) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := r.client.Run(ctx, r.record)
		r.mu.Lock()
		r.err, r.ended = err, true
		r.mu.Unlock()
	}()
	r.stop = func() error {
		cancel()
		<-done
		return r.err
	}
	r.t.Cleanup(func() { _ = r.stop() })
}

func (r *recorder) record(event wsgateway.Event) {
	cursor := r.client.Cursor()
	r.mu.Lock()
	r.events, r.cursors = append(r.events, event), append(r.cursors, cursor)
	r.mu.Unlock()
}

func (r *recorder) all() []wsgateway.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// of returns the events of a kind.
func of[E wsgateway.Event](r *recorder) (some []E) {
	for _, event := range r.all() {
		if one, ok := event.(E); ok {
			some = append(some, one)
		}
	}
	return some
}

func (r *recorder) until(what string, condition func() bool) {
	r.t.Helper()
	until(r.t, what, condition, func() any {
		events := r.all()
		return events[max(0, len(events)-10):]
	})
}

func (r *recorder) subscribed(times int) {
	r.t.Helper()
	r.until("an acknowledgement", func() bool { return len(of[wsgateway.Subscribed](r)) >= times })
}

func (r *recorder) received(count int) {
	r.t.Helper()
	r.until("messages", func() bool { return len(of[wsgateway.Message](r)) >= count })
}

// refused waits for the end of Run.
func (r *recorder) refused(code int) {
	r.t.Helper()
	r.until("the refusal", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.ended
	})
	var refused *wsgateway.RefusedError
	if !errors.As(r.err, &refused) || refused.Code != code {
		r.t.Fatalf("ended with %v, not with %d", r.err, code)
	}
}

func (r *recorder) numbers() (numbers []int) {
	for _, message := range of[wsgateway.Message](r) {
		var data struct{ N int }
		if err := message.Decode(&data); err != nil {
			r.t.Fatal(err)
		}
		numbers = append(numbers, data.N)
	}
	return numbers
}

// complete: everything that was published has come, once, in order, and nothing was said to be missing.
func (r *recorder) complete(count int) {
	r.t.Helper()
	r.received(count)
	equal(r.t, r.numbers(), upTo(1, count))
	equal(r.t, len(of[wsgateway.Gap](r))+len(of[wsgateway.Rejected](r)), 0)
	equal(r.t, r.client.Duplicates(), int64(0))
}

func upTo(first, last int) (numbers []int) {
	for n := first; n <= last; n++ {
		numbers = append(numbers, n)
	}
	return numbers
}

// publisher publishes numbered messages on a channel until it is stopped.
type publisher struct {
	count atomic.Int64
	stop  func() int
}

func publish(nats *natsServer, channel string) *publisher {
	p, stopped, done := &publisher{}, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for pace := time.NewTicker(2 * time.Millisecond); ; {
			nats.publish(channel, object{"n": p.count.Load() + 1})
			p.count.Add(1)
			select {
			case <-stopped:
				pace.Stop()
				return
			case <-pace.C:
			}
		}
	}()
	p.stop = func() int {
		close(stopped)
		<-done
		return int(p.count.Load())
	}
	return p
}

// relay is a TCP proxy whose connections can be cut.
type relay struct {
	listener net.Listener
	mu       sync.Mutex
	open     []net.Conn
}

func startRelay(t *testing.T, port int) *relay {
	r := &relay{listener: must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))}
	t.Cleanup(func() {
		_ = r.listener.Close()
		r.cut()
	})
	go func() {
		for {
			near, err := r.listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				_ = near.Close()
				continue
			}
			r.mu.Lock()
			r.open = append(r.open, near, far)
			r.mu.Unlock()
			for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
				go func() {
					_, _ = io.Copy(pair[0], pair[1])
					_ = pair[0].Close()
				}()
			}
		}
	}()
	return r
}

func (r *relay) url() string { return "ws://" + r.listener.Addr().String() + "/ws" }

func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, socket := range r.open {
		_ = socket.Close()
	}
	r.open = nil
}
