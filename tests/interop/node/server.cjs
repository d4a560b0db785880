"use strict";
// Echo servers of Node's ws, for our client role: node server.cjs MODULES
// Says "listening PORT". The path tells how to answer:
//   /              as it came, compressed if that was agreed on
//   /window        the same with a window of 512 bytes
//   /fragments     every message in three fragments, a ping between them
//   /close/N/TEXT  closes with code N and a reason as soon as a message comes
//   /big           closes with 1009 on a message above 1,000 bytes
const http = require("node:http");
const { WebSocketServer } = require("./peer.cjs");

const LARGEST = 16 << 20;

const server = (perMessageDeflate, maxPayload = LARGEST) =>
  new WebSocketServer({ noServer: true, perMessageDeflate, maxPayload });
const usual = server({ threshold: 0 });
const servers = { window: server({ threshold: 0, serverMaxWindowBits: 9 }), big: server(true, 1_000) };

function fragments(socket, data, binary) {
  const third = Math.ceil(data.length / 3);
  for (let n = 0; n < 3; n += 1) {
    socket.send(data.subarray(n * third, (n + 1) * third), { binary, fin: n === 2 });
    if (n < 2) socket.ping(`ping ${n}`);
  }
}

function serve(socket, [how, code, reason]) {
  socket.on("error", () => {}); // the close frame says why
  socket.on("message", (data, binary) => {
    if (how === "fragments") fragments(socket, data, binary);
    else if (how === "close") socket.close(Number(code), decodeURIComponent(reason ?? ""));
    else socket.send(data, { binary });
  });
}

const listener = http.createServer();
listener.on("upgrade", (request, socket, head) => {
  const path = request.url.split("/").slice(1);
  (servers[path[0]] ?? usual).handleUpgrade(request, socket, head, (client) => serve(client, path));
});
listener.listen(0, "127.0.0.1", () => console.log(`listening ${listener.address().port}`));
