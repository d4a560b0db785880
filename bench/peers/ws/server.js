// Node's ws: the broadcast and the heartbeat of its README, a loop over all clients each.
import { createServer } from "node:http";
import { connect } from "@nats-io/transport-node";
import { WebSocket, WebSocketServer } from "ws";

const HEARTBEAT_MS = 25_000;

const nats = await connect({ servers: process.env.NATS_URL });
const http = createServer();
const server = new WebSocketServer({ server: http, perMessageDeflate: false });
server.on("connection", (socket) => {
  socket.alive = true;
  socket.on("pong", () => (socket.alive = true));
  socket.on("error", () => socket.terminate());
  socket.on("message", (text) => {
    const { type, channels } = JSON.parse(text);
    if (type === "subscribe") socket.send(JSON.stringify({ type: "subscription_ack", subscribed: channels }));
  });
  socket.send('{"type":"connection:established"}');
});
setInterval(() => {
  for (const socket of server.clients) {
    if (!socket.alive) socket.terminate();
    socket.alive = false;
    socket.ping();
  }
}, HEARTBEAT_MS);
nats.subscribe("bench.price", {
  callback: (error, message) => {
    if (error) throw error;
    const text = message.string();
    for (const socket of server.clients) {
      if (socket.readyState === WebSocket.OPEN) socket.send(text);
    }
  },
});
await nats.flush();
http.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () =>
  console.log(`listening 127.0.0.1:${http.address().port}`),
);
