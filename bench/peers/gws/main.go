// A Go server on lxzan/gws: its broadcaster frames a message once and queues it to every connection.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"sync"

	"github.com/lxzan/gws"
	"github.com/nats-io/nats.go"
)

type hub struct {
	gws.BuiltinEventHandler
	lock        sync.RWMutex
	connections map[*gws.Conn]struct{}
}

func (h *hub) OnOpen(connection *gws.Conn) {
	h.lock.Lock()
	h.connections[connection] = struct{}{}
	h.lock.Unlock()
	_ = connection.WriteString(`{"type":"connection:established"}`)
}

type command struct {
	Type     string   `json:"type"`
	Channels []string `json:"channels"`
}

type acknowledgement struct {
	Type       string   `json:"type"`
	Subscribed []string `json:"subscribed"`
}

func (h *hub) OnMessage(connection *gws.Conn, message *gws.Message) {
	defer message.Close()
	var asked command
	if json.Unmarshal(message.Bytes(), &asked) != nil || asked.Type != "subscribe" {
		return
	}
	if answer, err := json.Marshal(acknowledgement{"subscription_ack", asked.Channels}); err == nil {
		_ = connection.WriteMessage(gws.OpcodeText, answer)
	}
}

func (h *hub) OnClose(connection *gws.Conn, _ error) {
	h.lock.Lock()
	delete(h.connections, connection)
	h.lock.Unlock()
}

func (h *hub) OnPing(connection *gws.Conn, payload []byte) {
	_ = connection.WritePong(payload)
}

func (h *hub) broadcast(payload []byte) {
	broadcaster := gws.NewBroadcaster(gws.OpcodeText, payload)
	defer broadcaster.Close()
	h.lock.RLock()
	defer h.lock.RUnlock()
	for connection := range h.connections {
		_ = broadcaster.Broadcast(connection)
	}
}

func main() {
	hub := &hub{connections: make(map[*gws.Conn]struct{})}
	client, err := nats.Connect(os.Getenv("NATS_URL"))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := client.Subscribe("bench.price", func(message *nats.Msg) { hub.broadcast(message.Data) }); err != nil {
		log.Fatal(err)
	}
	if err := client.Flush(); err != nil {
		log.Fatal(err)
	}
	upgrader := gws.NewUpgrader(hub, &gws.ServerOption{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening", listener.Addr())
	log.Fatal(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connection, err := upgrader.Upgrade(w, r)
		if err != nil {
			return
		}
		// Outside the handler, so that the request and its buffers can be freed.
		go connection.ReadLoop()
	})))
}
