"use strict";
// Node's ws as a client of the echo server: node echo.cjs MODULES URL
const { Client, assert, noise, run, url, wordy } = require("./peer.cjs");

const BOUNDARIES = [0, 1, 2, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537, 1 << 20];
const LARGEST = 16 << 20;
const LARGE = [LARGEST];
const ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
// Compress whatever its length.
const DEFLATE = { perMessageDeflate: { threshold: 0 } };

/** The header of the server's answer, as it came. */
async function agreed(perMessageDeflate) {
  const client = new Client(url, { perMessageDeflate });
  let header;
  client.socket.on("upgrade", (response) => (header = response.headers["sec-websocket-extensions"]));
  assert.ok((await client.next()).open);
  return { client, header };
}

async function lengths(options, list) {
  const client = await Client.open(url, options);
  for (const length of list) {
    // Deflate makes noise a little longer, and the limit counts what comes.
    for (const message of [wordy(length, false), wordy(length, true), noise(Math.min(length, LARGEST - 65_536))]) {
      client.send(message);
      await client.expect(message, `${length} bytes`);
    }
  }
  await client.close();
}

async function fragments(options, most) {
  const client = await Client.open(url, options);
  const pieces = Array.from({ length: most }, (_, n) => `${n};`);
  client.send(...pieces);
  await client.expect(pieces.join(""), "the most fragments");
  for (const size of [1, 2, 127, 4_096, 70_000]) {
    const message = wordy(size * 7 + 1, true);
    client.send(...Array.from({ length: 8 }, (_, n) => message.subarray(n * size, (n + 1) * size)));
    await client.expect(message, `fragments of ${size}`);
  }
  client.send("", "", "a", "", "");
  await client.expect("a", "empty fragments");
  client.send("", "");
  await client.expect("", "nothing but empty fragments");
  await client.close();
}

async function pings(options) {
  const client = await Client.open(url, options);
  for (let length = 0; length <= 125; length += 1) {
    client.socket.ping(Buffer.alloc(length, length));
    await client.expectPong(Buffer.alloc(length, length), `a ping of ${length}`);
  }
  // Between the fragments of one message: the pongs come first.
  for (let n = 0; n < 100; n += 1) {
    client.socket.send(`${n};`, { fin: n === 99 });
    if (n < 99) client.socket.ping(`ping ${n}`);
  }
  for (let n = 0; n < 99; n += 1) await client.expectPong(`ping ${n}`, `ping ${n}`);
  await client.expect(Array.from({ length: 100 }, (_, n) => `${n};`).join(""), "the message around the pings");
  client.socket.pong("nobody asked");
  client.send("still here");
  await client.expect("still here", "after a pong unasked");
  await client.close();
}

async function pipelined(options) {
  const client = await Client.open(url, options);
  const messages = Array.from({ length: 5_000 }, (_, n) => wordy(n % 700, n % 3 === 0));
  // Every other message of a connection that compresses is sent plain.
  messages.forEach((data, n) => client.socket.send(data, { binary: typeof data !== "string", compress: n % 2 === 0 }));
  for (const [n, message] of messages.entries()) await client.expect(message, `message ${n}`);
  await client.close();
}

/** Messages that lean on nothing before them: the same one twice, then one that would have helped. */
async function echoes(client, what) {
  for (const message of [wordy(3_000, false), wordy(3_000, false), wordy(200_000, true), noise(500), "", "short"]) {
    client.send(message);
    await client.expect(message, what);
  }
  await client.close();
}

run({
  "every length, plain": () => lengths({}, BOUNDARIES),
  "every length, compressed": () => lengths(DEFLATE, BOUNDARIES),
  "16 MiB, plain": () => lengths({}, LARGE),
  "16 MiB, compressed": () => lengths(DEFLATE, LARGE),
  "65,536 fragments, plain": () => fragments({}, 65_536),
  // As many take this client a quarter of a minute: it flushes each by itself.
  "4,096 fragments, compressed": () => fragments(DEFLATE, 4_096),
  "pings, plain": () => pings({}),
  "pings, compressed": () => pings(DEFLATE),
  "thousands of messages before the first answer is read, plain": () => pipelined({}),
  "thousands of messages before the first answer is read, compressed": () => pipelined(DEFLATE),

  "offers of permessage-deflate": async () => {
    const wide = `${ANSWER}; server_max_window_bits=15`;
    for (const [offer, answer] of [
      [{}, ANSWER],
      [{ serverNoContextTakeover: true }, ANSWER],
      [{ clientNoContextTakeover: true, serverNoContextTakeover: true }, ANSWER],
      [{ clientMaxWindowBits: 9 }, ANSWER],
      [{ clientMaxWindowBits: 15, serverMaxWindowBits: 15 }, wide],
      [{ serverMaxWindowBits: 10 }, undefined],
      [{ serverMaxWindowBits: 8, clientMaxWindowBits: 8 }, undefined],
    ]) {
      const { client, header } = await agreed({ threshold: 0, ...offer });
      const what = JSON.stringify(offer);
      assert.strictEqual(header, answer, what);
      assert.strictEqual(client.socket.extensions, answer ? "permessage-deflate" : "", what);
      await echoes(client, what);
    }
  },

  "no offer, no compression": async () => {
    const { client, header } = await agreed(false);
    assert.strictEqual(header, undefined);
    await echoes(client, "plain");
  },

  "close codes come back": async () => {
    const assigned = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
    for (const code of [...assigned, 3000, 3999, 4000, 4999]) {
      for (const reason of ["", "because", "é".repeat(61)]) {
        await (await Client.open(url)).close(code, reason);
      }
    }
    const client = await Client.open(url);
    client.socket.close();
    await client.expectClose(1000, "");
  },

  "the server says why it closes": async () => {
    const broken = Buffer.from([0x61, 0xff]);
    for (const [options, data, binary, code, reason] of [
      [{}, broken, false, 1007, "text is not valid UTF-8"],
      [DEFLATE, broken, false, 1007, "text is not valid UTF-8"],
      [{}, Buffer.alloc(LARGEST + 1), true, 1009, "the message is larger than the limit"],
      [DEFLATE, Buffer.alloc(LARGEST + 1), true, 1009, "the message is larger than the limit"],
    ]) {
      const client = await Client.open(url, options);
      client.socket.send(data, { binary }, () => {});
      await client.expectClose(code, reason, reason);
    }
  },

  "paths, queries and protocols": async () => {
    for (const path of ["", "ws", "a/b/c?d=e&f=%20"]) {
      const client = await Client.open(new URL(path, url), { protocols: ["wsgateway.v1", "other"] });
      assert.strictEqual(client.socket.protocol, "wsgateway.v1");
      client.send(path);
      await client.expect(path, path);
      await client.close();
    }
  },
});
