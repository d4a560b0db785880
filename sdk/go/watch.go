package wsgateway

import (
	"context"
	"math/rand/v2"
	"time"
)

// renewal is a token for the line, or the news that there is none yet.
type renewal struct {
	token string
	err   error
}

// renew gets another token for the line, again and again until that has ended.
func (c *Client) renew(ctx context.Context, renewals chan<- renewal) {
	for attempt := 0; ; attempt++ {
		token, err := c.options.TokenSource(ctx)
		select {
		case renewals <- renewal{token, err}:
		case <-ctx.Done():
			return
		}
		if err == nil || sleep(ctx, time.Duration(rand.Float64()*float64(c.options.Backoff.ceiling(attempt)))) != nil {
			return
		}
	}
}

func (c *Client) renewed(r renewal) {
	if r.err != nil {
		c.handle(tokenUnavailable)
		return
	}
	c.renewing()
	c.renewing = nil
	c.line.send(command{Type: "auth", Token: r.token})
}

// pause is the time until something is to be checked or sent.
func (c *Client) pause(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := c.heardAt.Add(c.options.PingAfter)
	switch {
	case !c.session.greeted:
		next = c.openedAt.Add(c.options.ConnectTimeout)
	case c.askedAt.After(c.heardAt):
		next = c.askedAt.Add(c.options.PingTimeout)
	}
	if wake := c.session.wakeAt; !wake.IsZero() && wake.Before(next) {
		next = wake
	}
	return max(0, next.Sub(now))
}

// check gives a silent line up, or asks it for a sign of life.
func (c *Client) check(now time.Time) *end {
	c.mu.Lock()
	greeted, overdue := c.session.greeted, c.session.overdue(now)
	c.mu.Unlock()
	dead := func(reason string) *end { return &end{code: codeAbnormal, reason: reason} }
	switch {
	case !greeted && !now.Before(c.openedAt.Add(c.options.ConnectTimeout)):
		return dead("not greeted in time")
	case !greeted:
		return nil
	case overdue:
		return dead("no answer to a subscribe in time")
	case c.askedAt.After(c.heardAt):
		if !now.Before(c.askedAt.Add(c.options.PingTimeout)) {
			return dead("no answer in time")
		}
	case !now.Before(c.heardAt.Add(c.options.PingAfter)):
		c.askedAt = now
		c.line.send(command{Type: "ping", Timestamp: now.UnixMilli()})
	}
	return nil
}
