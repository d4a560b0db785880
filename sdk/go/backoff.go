package wsgateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Close codes that the client treats in a way of their own.
const (
	codeNormal          = 1000
	codeAbnormal        = 1006
	codeTooBig          = 1009
	codeRestart         = 1012
	codeOverloaded      = 1013
	codeUnauthorized    = 4001
	codeNotAllowed      = 4003
	codeTokenExpired    = 4004
	codeTooManyCommands = 4009
	codeBanned          = 4013
)

const (
	// maxAdvice bounds for how long a server may put a client to sleep.
	maxAdvice = 2 * time.Minute
	// tooManyCommandsWait is what the gateway's bucket needs to fill.
	tooManyCommandsWait = 5 * time.Second
	// unauthorizedWait gives the issuer of tokens and their verifier time to agree, after a fresh token was refused, too.
	unauthorizedWait = 5 * time.Second
	// maxReason bounds a reason in bytes.
	maxReason = 200
)

// Backoff says when to try again. Full jitter: a delay is random below Base doubled with each attempt, at most Cap.
type Backoff struct {
	// Base is 500 ms unless set, Cap 30 s.
	Base, Cap time.Duration
	// Stable is how long a connection must have been of use for attempts to be forgotten; 10 s unless set.
	Stable time.Duration
}

func (b Backoff) ceiling(attempt int) time.Duration {
	delay := b.Base
	for ; attempt > 0 && delay < b.Cap; attempt-- {
		delay *= 2
	}
	return min(delay, b.Cap)
}

// end is how a connection ended.
type end struct {
	code   int
	reason string
	// advised is what the server asked us to wait, when isAdvised.
	advised   time.Duration
	isAdvised bool
}

// isToken reports that the token is missing, bad, not enough, or expired.
func (e end) isToken() bool {
	return e.code == codeUnauthorized || e.code == codeNotAllowed || e.code == codeTokenExpired
}

// isFinal reports that the same would happen again: wrong commands, messages too big, one connection too many, a ban.
func (e end) isFinal() bool {
	switch e.code {
	case codeNormal, 1003, 1007, codeTooBig, 4010, codeBanned:
		return true
	}
	return false
}

// attempts says how it went so far: useless connections in a row, refused tokens in a row, and whether a token function
// could bring another token.
type attempts struct {
	useless, refusals int
	canRenew          bool
}

// delay is the time until the next attempt, and false when there is none. Chance is from 0 to 1.
func (b Backoff) delay(e end, so attempts, chance float64) (time.Duration, bool) {
	if e.isFinal() || (e.isToken() && !so.canRenew) {
		return 0, false
	}
	attempt := so.useless
	if e.isToken() && so.refusals <= 1 {
		attempt = 0 // a fresh token is worth an attempt at once
	}
	jittered := time.Duration(chance * float64(b.ceiling(attempt)))
	switch {
	case e.isToken() && so.refusals > 1:
		return unauthorizedWait + jittered, true
	case e.isToken():
		return jittered, true
	case e.code == codeTooManyCommands:
		return tooManyCommandsWait + jittered, true
	}
	advised := min(max(e.advised, 0), maxAdvice)
	// A gateway that stops spreads its clients by its advice. Advice that went wrong before is worth less.
	if e.code == codeRestart && e.isAdvised && so.useless <= 1 {
		return advised, true
	}
	return advised + jittered, true
}

// fromHTTP is the end that a refused upgrade means.
func fromHTTP(response *http.Response, body []byte) end {
	var answer struct {
		Code         string `json:"code"`
		RetryAfterMs *int64 `json:"retryAfterMs"`
	}
	_ = json.Unmarshal(body, &answer) // other servers answer as they like
	reason := fmt.Sprintf("HTTP %d", response.StatusCode)
	if answer.Code != "" {
		reason += " " + answer.Code
	}
	e := end{code: codeAbnormal, reason: cut(reason)}
	if seconds, err := strconv.ParseUint(response.Header.Get("Retry-After"), 10, 31); err == nil {
		e.advised, e.isAdvised = time.Duration(seconds)*time.Second, true
	}
	if after := answer.RetryAfterMs; after != nil {
		e.advised, e.isAdvised = milliseconds(*after), true
	}
	switch {
	case response.StatusCode == http.StatusUnauthorized:
		e.code = codeUnauthorized
	case response.StatusCode == http.StatusForbidden && answer.Code == "banned" && e.isAdvised:
		e.code = codeOverloaded // a ban that ends soon says when
	case response.StatusCode == http.StatusForbidden && answer.Code == "banned":
		e.code = codeBanned
	case response.StatusCode == http.StatusForbidden:
		e.code = codeNotAllowed
	case response.StatusCode == http.StatusTooManyRequests || response.StatusCode == http.StatusServiceUnavailable:
		e.code = codeOverloaded
	}
	return e
}

// milliseconds is a duration that no server can make overflow.
func milliseconds(ms int64) time.Duration {
	return time.Duration(min(max(ms, 0), maxAdvice.Milliseconds())) * time.Millisecond
}

func cut(reason string) string { return reason[:min(len(reason), maxReason)] }
