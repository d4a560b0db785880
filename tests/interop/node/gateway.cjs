"use strict";
// Node's ws as clients of the gateway: node gateway.cjs MODULES PLAIN DEFLATE BATCH BOTH
// One client for each URL, which tells in which way it is to ask. Says "subscribed" once all are; then every text
// that came, one line of JSON each, when all have seen a message on the channel "end".
const { Client, assert, rest, run, url } = require("./peer.cjs");

const WAYS = [
  { name: "plain" },
  { name: "deflate", deflate: true },
  { name: "batch", batch: true },
  { name: "both", deflate: true, batch: true },
];

async function subscribe({ deflate, batch }, address) {
  const perMessageDeflate = deflate ? { threshold: 0 } : false;
  const client = await Client.open(address, { protocols: ["wsgateway.v1"], perMessageDeflate });
  assert.strictEqual(client.socket.protocol, "wsgateway.v1");
  assert.strictEqual(client.socket.extensions, deflate ? "permessage-deflate" : "");
  assert.strictEqual(JSON.parse((await client.next()).data).type, "connection:established");
  client.send(JSON.stringify({ type: "subscribe", id: 1, channels: [">"], batch }));
  assert.strictEqual(JSON.parse((await client.next()).data).type, "subscription_ack");
  return client;
}

async function texts(client) {
  const heard = [];
  while (!heard.at(-1)?.includes('"channel":"end"')) {
    const event = await client.next();
    assert.ok(event.data && !event.binary, `no text: ${event.code ?? event.error}`);
    heard.push(event.data.toString());
  }
  await client.close();
  return heard;
}

run({
  "messages of the gateway": async () => {
    const clients = await Promise.all(WAYS.map((way, at) => subscribe(way, [url, ...rest][at])));
    console.log("subscribed");
    const all = await Promise.all(clients.map(texts));
    all.forEach((heard, at) => {
      for (const text of heard) console.log(JSON.stringify({ way: WAYS[at].name, text }));
    });
  },
});
