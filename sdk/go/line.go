package wsgateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/coder/websocket"
)

const (
	protocol = "wsgateway.v1"
	// maxFrame bounds a frame in bytes. NATS allows payloads of 1 MiB unless told otherwise, and base64 adds a third.
	maxFrame = 16 << 20
	// writeTimeout is how long a socket may take for a command.
	writeTimeout = 10 * time.Second
)

// line is one WebSocket and the goroutine that reads it.
type line struct {
	socket *websocket.Conn
	frames chan []byte
	// ended holds how the connection ended, once frames is closed.
	ended end
	stop  context.CancelFunc
}

// httpClient follows no redirects: the token is for the host that the user named.
func httpClient(base *http.Client) *http.Client {
	if base == nil {
		base = http.DefaultClient
	}
	client := *base
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client
}

// openLine dials. The error's text holds no token.
func openLine(ctx context.Context, address, token string, base *http.Client) (*line, *end) {
	header := http.Header{}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	socket, response, err := websocket.Dial(ctx, address, &websocket.DialOptions{
		HTTPClient:      httpClient(base),
		HTTPHeader:      header,
		Subprotocols:    []string{protocol},
		CompressionMode: websocket.CompressionNoContextTakeover,
	})
	if err != nil {
		e := dialFailed(ctx, response, err)
		return nil, &e
	}
	socket.SetReadLimit(maxFrame)
	reading, stop := context.WithCancel(context.Background())
	l := &line{socket: socket, frames: make(chan []byte), stop: stop}
	go l.read(reading)
	return l, nil
}

// read hands frames over one by one: a handler that is slow slows the connection down.
func (l *line) read(ctx context.Context) {
	defer close(l.frames)
	for {
		_, frame, err := l.socket.Read(ctx)
		if err != nil {
			l.ended = endOf(err)
			return
		}
		select {
		case l.frames <- frame:
		case <-ctx.Done():
			return
		}
	}
}

// send: a connection that does not take a command ends by itself, with what comes next from it.
func (l *line) send(c command) {
	text, err := json.Marshal(c)
	if err != nil {
		return // a command always has a JSON text
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	_ = l.socket.Write(ctx, websocket.MessageText, text)
}

// close does not wait for the other side: what was under way is resumed.
func (l *line) close() {
	l.stop()
	_ = l.socket.CloseNow()
}

func dialFailed(ctx context.Context, response *http.Response, err error) end {
	if response != nil && response.StatusCode != http.StatusSwitchingProtocols {
		var body []byte
		if response.Body != nil {
			body, _ = io.ReadAll(io.LimitReader(response.Body, 1024))
		}
		return fromHTTP(response, body)
	}
	if ctx.Err() != nil {
		return end{code: codeAbnormal, reason: "not connected in time"}
	}
	// Without the address, whose query may hold what is nobody's business.
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	return end{code: codeAbnormal, reason: cut(err.Error())}
}

func endOf(err error) end {
	var closed websocket.CloseError
	switch {
	case errors.As(err, &closed):
		return end{code: int(closed.Code), reason: cut(closed.Reason)}
	case errors.Is(err, websocket.ErrMessageTooBig):
		return end{code: codeTooBig, reason: fmt.Sprintf("a frame of more than %d bytes", maxFrame)}
	}
	return end{code: codeAbnormal, reason: cut(err.Error())}
}
