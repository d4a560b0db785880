package wsgateway

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Options of a client. The zero value will do.
type Options struct {
	// Token says who the client is. It cannot change: refused, it ends Run.
	Token string
	// TokenSource is for tokens that end, instead of Token. It is called before every attempt, and when the token is about
	// to expire; when it fails it is called again later.
	TokenSource func(context.Context) (string, error)
	// Cursor resumes from a place that was stored.
	Cursor *Cursor
	// Backoff says when to try again.
	Backoff Backoff
	// PingAfter is the silence after which a ping is sent, 15 s unless set; PingTimeout the time for its answer, 10 s.
	PingAfter, PingTimeout time.Duration
	// ConnectTimeout is for one attempt, and from there to the greeting; 15 s unless set.
	ConnectTimeout time.Duration
	// HTTPClient makes the handshake; http.DefaultClient unless set. Redirects are not followed.
	HTTPClient *http.Client
}

// Client receives channels from a gateway. Its methods may be called from any goroutine, also from a handler.
type Client struct {
	urls    []string
	options Options
	wake    chan struct{}

	mu      sync.Mutex
	session *session

	// What follows belongs to Run.
	line        *line
	handle      func(Event)
	url         int
	useless     int
	refusals    int
	openedAt    time.Time
	heardAt     time.Time
	askedAt     time.Time
	usefulSince time.Time
	advisedAt   time.Time
	renewals    chan renewal
	renewing    context.CancelFunc
}

// New returns a client of one gateway, or of several with the same stream: the next one is used after each connection that
// ended.
func New(options Options, urls ...string) *Client {
	defaults := func(value *time.Duration, unset time.Duration) {
		if *value <= 0 {
			*value = unset
		}
	}
	defaults(&options.Backoff.Base, 500*time.Millisecond)
	defaults(&options.Backoff.Cap, 30*time.Second)
	defaults(&options.Backoff.Stable, 10*time.Second)
	defaults(&options.PingAfter, 15*time.Second)
	defaults(&options.PingTimeout, 10*time.Second)
	defaults(&options.ConnectTimeout, 15*time.Second)
	return &Client{urls: urls, options: options, wake: make(chan struct{}, 1), session: newSession(options.Cursor)}
}

// Subscribe wants channels or patterns from now on.
func (c *Client) Subscribe(channels ...string) {
	c.change(func(s *session) { s.subscribe(channels, false) })
}

// SubscribeWithSnapshot wants them with the last value of each channel first.
func (c *Client) SubscribeWithSnapshot(channels ...string) {
	c.change(func(s *session) { s.subscribe(channels, true) })
}

// Unsubscribe does not want these channels or patterns any more.
func (c *Client) Unsubscribe(channels ...string) {
	c.change(func(s *session) { s.unsubscribe(channels) })
}

// Cursor is where to resume: after the event that is being handled, or was handled last. Store it when that is done. It is
// nil before anything was acknowledged.
func (c *Client) Cursor() *Cursor {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session.cursor()
}

// Duplicates counts messages that a gateway sent again, and that were dropped.
func (c *Client) Duplicates() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session.duplicates
}

func (c *Client) change(do func(*session)) {
	c.mu.Lock()
	do(c.session)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default: // somebody has woken it already
	}
}

// Run connects, and calls handle for each event, in order, one at a time, until ctx ends. A handler that is slow slows the
// connection down; when the gateway ends it for that, it is resumed. Run returns the context's error, nil when the gateway
// says that it is over (1000), or a *RefusedError. It may be called again afterwards, and goes on where it was; not twice at
// the same time.
func (c *Client) Run(ctx context.Context, handle func(Event)) error {
	if len(c.urls) == 0 {
		return errors.New("wsgateway: a client needs a URL")
	}
	c.handle = handle
	defer c.drop()
	var wait time.Duration
	for {
		if err := sleep(ctx, wait); err != nil {
			return err
		}
		ended := c.connect(ctx)
		if ended == nil {
			ended = c.serve(ctx)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		delay, again := c.finish(*ended)
		if again {
			wait = delay
			continue
		}
		if ended.code == codeNormal {
			return nil
		}
		return &RefusedError{ended.code, ended.reason}
	}
}

func sleep(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// connect opens a line, or says how that ended.
func (c *Client) connect(ctx context.Context) *end {
	ctx, cancel := context.WithTimeout(ctx, c.options.ConnectTimeout)
	defer cancel()
	token, err := c.token(ctx)
	if err != nil {
		c.handle(tokenUnavailable)
		return &end{code: codeAbnormal, reason: "no token"}
	}
	line, ended := openLine(ctx, c.urls[c.url%len(c.urls)], token, c.options.HTTPClient)
	if ended != nil {
		return ended
	}
	now := time.Now()
	c.line, c.openedAt, c.heardAt, c.askedAt = line, now, now, time.Time{}
	c.renewals = make(chan renewal)
	return nil
}

// tokenUnavailable does not say what the function said: that may hold the token.
var tokenUnavailable = Error{"token_unavailable", "the function for tokens failed"}

func (c *Client) token(ctx context.Context) (string, error) {
	if c.options.TokenSource == nil {
		return c.options.Token, nil
	}
	return c.options.TokenSource(ctx)
}

// serve hands over events until the line has ended.
func (c *Client) serve(ctx context.Context) *end {
	for {
		if ended := c.drain(ctx); ended != nil {
			return ended
		}
		timer := time.NewTimer(c.pause(time.Now()))
		select {
		case frame, ok := <-c.line.frames:
			timer.Stop()
			if !ok {
				return &c.line.ended
			}
			c.heardAt = time.Now()
			c.mu.Lock()
			c.session.receive(frame)
			c.mu.Unlock()
		case renewal := <-c.renewals:
			timer.Stop()
			c.renewed(renewal)
		case <-c.wake:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return &end{code: codeNormal}
		case <-timer.C:
			if ended := c.check(time.Now()); ended != nil {
				return ended
			}
		}
	}
}

// drain hands over all events, and sends what is due.
func (c *Client) drain(ctx context.Context) *end {
	for ctx.Err() == nil {
		c.mu.Lock()
		event := c.session.poll()
		c.mu.Unlock()
		if event == nil {
			break
		}
		ended := c.observe(ctx, event)
		c.handle(event)
		if ended != nil {
			return ended
		}
	}
	now := time.Now()
	c.mu.Lock()
	commands := c.session.commands(now)
	if c.usefulSince.IsZero() && c.session.settled() {
		c.usefulSince = now
	}
	c.mu.Unlock()
	for _, command := range commands {
		c.line.send(command)
	}
	return nil
}

// observe does what an event means for the connection.
func (c *Client) observe(ctx context.Context, event Event) *end {
	switch event := event.(type) {
	case Opened:
		c.refusals = 0
	case Reconnect:
		c.advisedAt = time.Now().Add(event.After)
	case TokenExpiring:
		if c.options.TokenSource != nil && c.renewing == nil {
			renewing, cancel := context.WithCancel(ctx)
			c.renewing = cancel
			go c.renew(renewing, c.renewals)
		}
	case Error:
		if event.Code == "wrong_user" {
			// Another user has logged in: a change of connections loses nothing.
			return &end{code: codeRestart, reason: event.Code, isAdvised: true}
		}
	}
	return nil
}

// finish ends the line, and says whether and when there is another attempt.
func (c *Client) finish(e end) (time.Duration, bool) {
	now := time.Now()
	if !e.isAdvised && !c.advisedAt.IsZero() {
		e.advised, e.isAdvised = c.advisedAt.Sub(now), true
	}
	c.useless++
	if !c.usefulSince.IsZero() && now.Sub(c.usefulSince) >= c.options.Backoff.Stable {
		c.useless = 0
	}
	c.url++
	c.drop()
	if e.isToken() {
		c.refusals++
		c.handle(Error{"unauthorized", e.reason})
	}
	so := attempts{c.useless, c.refusals, c.options.TokenSource != nil}
	delay, again := c.options.Backoff.delay(e, so, rand.Float64())
	c.handle(Closed{e.code, e.reason, again, delay})
	return delay, again
}

// drop ends the line, if there is one, and everything that belongs to it.
func (c *Client) drop() {
	if c.renewing != nil {
		c.renewing()
	}
	if c.line != nil {
		c.line.close()
	}
	c.renewing, c.line, c.usefulSince, c.advisedAt = nil, nil, time.Time{}, time.Time{}
	c.mu.Lock()
	c.session.ended()
	c.mu.Unlock()
}
