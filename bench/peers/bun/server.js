// Bun's own WebSocket server (uWebSockets): one topic, published to natively.
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
      ws.subscribe("bench.price");
      ws.subscribe("bench.trade");
      ws.subscribe("bench.volume");
      ws.send("ready");
    },
    message() {},
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
