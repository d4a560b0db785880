// Bun's own WebSocket server (uWebSockets): its own topics, published to natively. Like the gateway it greets a client,
// and acknowledges its subscriptions.
import { connect } from "@nats-io/transport-node";

const nats = await connect({ servers: process.env.NATS_URL });
const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request, server) {
    if (!server.upgrade(request)) return new Response("a WebSocket upgrade is needed", { status: 426 });
  },
  websocket: {
    sendPings: true,
    idleTimeout: 50,
    open(ws) {
      ws.send('{"type":"connection:established"}');
    },
    message(ws, text) {
      const { type, channels } = JSON.parse(text);
      if (type !== "subscribe") return;
      for (const channel of channels) ws.subscribe(channel);
      ws.send(JSON.stringify({ type: "subscription_ack", subscribed: channels }));
    },
  },
});
nats.subscribe("bench.price", {
  callback: (error, message) => {
    if (error) throw error;
    server.publish("bench.price", message.string());
  },
});
await nats.flush();
console.log(`listening 127.0.0.1:${server.port}`);
