// Socket.IO: rooms, WebSocket transport only.
import { createServer } from "node:http";
import { connect } from "@nats-io/transport-node";
import { Server } from "socket.io";

const nats = await connect({ servers: process.env.NATS_URL });
const http = createServer();
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false, serveClient: false });
io.on("connection", (socket) => {
  socket.join(["bench.price", "bench.trade", "bench.volume"]);
  socket.emit("ready");
});
nats.subscribe("bench.price", {
  callback: (error, message) => {
    if (error) throw error;
    io.to("bench.price").emit("price", message.json());
  },
});
await nats.flush();
http.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () =>
  console.log(`listening 127.0.0.1:${http.address().port}`),
);
