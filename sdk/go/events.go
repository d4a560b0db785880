package wsgateway

import (
	"encoding/json"
	"fmt"
	"time"
)

// Cursor is a place in a stream: everything up to Offset has been delivered. It is valid on every pod and meant to be
// stored.
type Cursor struct {
	// Epoch names the stream's life; offsets of another epoch mean nothing.
	Epoch  string `json:"epoch"`
	Offset int64  `json:"offset"`
}

// Event is what a client hands to its handler: a Message, Gap, Opened, Closed, Subscribed, Rejected, Reconnect,
// TokenExpiring or Error.
type Event interface{ event() }

// Message is one message of a channel: a value, or the deletion of the value before it.
type Message struct {
	Channel string
	// Offset is the sequence of the message in the stream.
	Offset int64
	// Prev is the offset of the message before it on the same channel; 0 when there is none or it is not known.
	Prev int64
	// Time is when the stream stored it.
	Time time.Time
	// Data is the payload as it was published; nil for a deletion.
	Data []byte
	// Binary is set when Data is not JSON.
	Binary bool
	// Snapshot marks the last value from before the subscription, asked for with SubscribeWithSnapshot.
	Snapshot bool
	// Deleted says why the channel has no value any more: MaxAge, Purge, Remove, DEL, PURGE or Unknown; else empty.
	Deleted string
}

// Decode parses the payload as JSON into v.
func (m Message) Decode(v any) error { return json.Unmarshal(m.Data, v) }

// Gap reports that the offsets First to Last of a channel, both included, did not come. The channel may be a pattern.
type Gap struct {
	Channel     string
	First, Last int64
	// Reason is slow_consumer, retention, epoch or source; or missed, when the client has detected it from Prev.
	Reason string
}

// Opened reports that a gateway has greeted a connection.
type Opened struct{ Epoch, ConnectionID, Pod string }

// Closed reports the end of a connection or of an attempt. HTTP refusals come as the close code that means the same.
type Closed struct {
	Code   int
	Reason string
	// Retry is set when there will be another attempt, after RetryIn.
	Retry   bool
	RetryIn time.Duration
}

// Subscribed reports acknowledged channels: everything after Offset will be delivered.
type Subscribed struct {
	Channels []string
	Offset   int64
	// Resumed is set when the channels go on from a cursor; then Recovered says whether nothing is missing.
	Resumed, Recovered bool
}

// Rejected reports that the gateway does not deliver a channel, or not any more. It is asked for again on the next
// connection.
type Rejected struct{ Channel, Code string }

// Reconnect reports that the gateway is about to close the connection, and when it advises to come back.
type Reconnect struct {
	After  time.Duration
	Reason string
}

// TokenExpiring reports that the token ends soon. The client has asked its token function for another one.
type TokenExpiring struct{ ExpiresAt time.Time }

// Error is an error of the gateway, of what a connection brought, or of the token function.
type Error struct{ Code, Message string }

func (Message) event()       {}
func (Gap) event()           {}
func (Opened) event()        {}
func (Closed) event()        {}
func (Subscribed) event()    {}
func (Rejected) event()      {}
func (Reconnect) event()     {}
func (TokenExpiring) event() {}
func (Error) event()         {}

// RefusedError is what Run returns when trying again would fail again: a token that cannot change, a limit, a ban.
type RefusedError struct {
	Code   int
	Reason string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("the gateway refused the connection with %d: %s", e.Code, e.Reason)
}
