package wsgateway

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"
)

// push is any frame that a gateway sends; which fields count depends on Type.
type push struct {
	Type string `json:"type"`
	ID   int64  `json:"id"`

	Epoch        string `json:"epoch"`
	ConnectionID string `json:"connectionId"`
	Pod          string `json:"pod"`
	Limits       struct {
		CommandBytes      int     `json:"commandBytes"`
		CommandsPerSecond float64 `json:"commandsPerSecond"`
	} `json:"limits"`

	Channel  string          `json:"channel"`
	Offset   *int64          `json:"offset"`
	Prev     int64           `json:"prev"`
	TS       int64           `json:"ts"`
	Data     json.RawMessage `json:"data"`
	Encoding string          `json:"encoding"`
	Snapshot bool            `json:"snapshot"`
	Deleted  string          `json:"deleted"`

	Subscribed []string          `json:"subscribed"`
	Channels   []string          `json:"channels"`
	Rejected   []Rejected        `json:"rejected"`
	Recovered  *bool             `json:"recovered"`
	Messages   []json.RawMessage `json:"messages"`

	From      *int64 `json:"from"`
	To        *int64 `json:"to"`
	Reason    string `json:"reason"`
	AfterMs   int64  `json:"afterMs"`
	ExpiresAt int64  `json:"expiresAt"`
	Code      string `json:"code"`
	Message   string `json:"message"`
}

// offset is the push's offset, or -1 when it has none.
func (p *push) offset() int64 {
	if p.Offset == nil || *p.Offset < 0 {
		return -1
	}
	return *p.Offset
}

// parse returns the pushes of a frame; those of a batch one by one.
func parse(frame []byte) ([]*push, error) {
	p := &push{}
	if err := json.Unmarshal(frame, p); err != nil {
		return nil, errors.New("a frame that is not as the protocol has it")
	}
	if p.Type != "batch" {
		return []*push{p}, nil
	}
	pushes := make([]*push, 0, len(p.Messages))
	for _, text := range p.Messages {
		message := &push{}
		if err := json.Unmarshal(text, message); err != nil {
			return pushes, errors.New("a message of a batch that is not as the protocol has it")
		}
		pushes = append(pushes, message)
	}
	return pushes, nil
}

// decoded is a message as users get it. A deletion has no data, whatever else it holds.
func decoded(p *push) (Message, error) {
	if p.Channel == "" || p.offset() < 0 {
		return Message{}, errors.New("a message without channel or offset")
	}
	m := Message{
		Channel: p.Channel, Offset: *p.Offset, Prev: max(p.Prev, 0), Time: time.UnixMilli(p.TS),
		Snapshot: p.Snapshot, Deleted: p.Deleted,
	}
	if p.Deleted != "" {
		return m, nil
	}
	m.Data = p.Data
	if p.Encoding != "base64" {
		return m, nil
	}
	var text string
	if err := json.Unmarshal(p.Data, &text); err != nil {
		return Message{}, errors.New("a message whose base64 is no text")
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return Message{}, errors.New("a message whose base64 is broken")
	}
	m.Data, m.Binary = data, true
	return m, nil
}

// command is any frame that the client sends.
type command struct {
	Type      string   `json:"type"`
	ID        int64    `json:"id,omitempty"`
	Channels  []string `json:"channels,omitempty"`
	Batch     bool     `json:"batch,omitempty"`
	Snapshot  bool     `json:"snapshot,omitempty"`
	Resume    *Cursor  `json:"resume,omitempty"`
	Timestamp int64    `json:"timestamp,omitempty"`
	Token     string   `json:"token,omitempty"`
}
