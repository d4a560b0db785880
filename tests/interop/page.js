"use strict";
// Chromium as a client: evaluated in an empty page. `echo(url)` runs a list of cases on the echo server and gives
// the names of the good ones; `listen(ways)` gives what clients of the gateway hear.

const LARGEST = 16 << 20;
const ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

function expect(truth, what) {
  if (!truth) throw new Error(what);
}

/** A connection whose messages and end are waited for one by one. */
class Client {
  constructor(url, protocols = []) {
    this.socket = new WebSocket(url, protocols);
    this.socket.binaryType = "arraybuffer";
    this.heard = [];
    this.waiting = [];
    for (const kind of ["open", "message", "close"]) this.socket.addEventListener(kind, (event) => this.hear(event));
  }

  static async open(url, protocols) {
    const client = new Client(url, protocols);
    const event = await client.next();
    expect(event.type === "open", `not opened: ${event.code}`);
    return client;
  }

  hear(event) {
    const first = this.waiting.shift();
    if (first) first(event);
    else this.heard.push(event);
  }

  next() {
    if (this.heard.length > 0) return Promise.resolve(this.heard.shift());
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  async text() {
    const event = await this.next();
    expect(event.type === "message" && typeof event.data === "string", `no text: ${event.type} ${event.code}`);
    return event.data;
  }

  /** Sends a message, which must come back. */
  async echo(message, what) {
    this.socket.send(message);
    await this.returns(message, what);
  }

  async returns(message, what) {
    if (typeof message === "string") return expect((await this.text()) === message, `${what}: another text`);
    const event = await this.next();
    expect(event.data instanceof ArrayBuffer, `${what}: no bytes: ${event.type} ${event.code}`);
    const [back, sent] = [new Uint8Array(event.data), new Uint8Array(message)];
    expect(back.length === sent.length && back.every((byte, at) => byte === sent[at]), `${what}: other bytes`);
  }

  async closes(code, reason, what) {
    const event = await this.next();
    const fits = event.type === "close" && event.code === code && event.reason === reason && event.wasClean;
    expect(fits, `${what}: ${event.type} ${event.code} "${event.reason}" clean ${event.wasClean}`);
  }

  async close(code, reason) {
    this.socket.close(code, reason);
    await this.closes(code, "", `closing with ${code}`);
  }
}

/** Text that deflate makes smaller; different at every place. */
function wordy(length) {
  const words = Array.from({ length: Math.ceil(length / 12) }, (_, n) => `word ${String(n).padStart(6, "0")},`);
  return words.join("").slice(0, length);
}

/** Bytes that deflate cannot make smaller. */
function noise(length) {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes.buffer;
}

async function lengths(url, list) {
  const client = await Client.open(url);
  for (const length of list) {
    await client.echo(wordy(length), `text of ${length}`);
    await client.echo(new TextEncoder().encode(wordy(length)).buffer, `bytes of ${length}`);
    // Deflate makes noise a little longer, and the limit counts what comes.
    await client.echo(noise(Math.min(length, LARGEST - 65_536)), `noise of ${length}`);
  }
  await client.close(1000);
}

const CASES = {
  "compression is agreed on": async (url) => {
    const client = await Client.open(url, ["wsgateway.v1", "other"]);
    expect(client.socket.extensions === ANSWER, `extensions "${client.socket.extensions}"`);
    expect(client.socket.protocol === "wsgateway.v1", `protocol "${client.socket.protocol}"`);
    await client.close(1000);
  },
  "every length": (url) => lengths(url, [0, 1, 124, 125, 126, 127, 65_534, 65_535, 65_536, 65_537, 1 << 20]),
  "16 MiB": (url) => lengths(url, [LARGEST]),
  "thousands of messages before an answer is read": async (url) => {
    const client = await Client.open(url);
    const messages = Array.from({ length: 3_000 }, (_, n) => (n % 3 === 0 ? noise(n % 700) : wordy(n % 700)));
    for (const message of messages) client.socket.send(message);
    for (const [n, message] of messages.entries()) await client.returns(message, `message ${n}`);
    await client.close(1000);
  },
  "text of every kind": async (url) => {
    const client = await Client.open(url);
    for (const text of ["\0", "é€🚀", "\uffff\u{10ffff}", "👩\u200d🚀".repeat(20_000)]) await client.echo(text, text);
    client.socket.send("half \ud83d a pair");
    await client.returns("half \ufffd a pair", "half a pair");
    await client.close(1000);
  },
  "close codes come back": async (url) => {
    for (const code of [1000, 3000, 3999, 4000, 4999]) {
      for (const reason of ["", "because", "é".repeat(61)]) await (await Client.open(url)).close(code, reason);
    }
    const client = await Client.open(url);
    client.socket.close();
    await client.closes(1000, "", "closing without a code");
  },
  "the server says why it closes": async (url) => {
    const client = await Client.open(url);
    client.socket.send("x".repeat(LARGEST + 1));
    await client.closes(1009, "the message is larger than the limit", "a byte too many");
  },
};

async function echo(url) {
  for (const [name, body] of Object.entries(CASES)) {
    await body(url).catch((error) => {
      throw new Error(`${name}: ${error.message}`);
    });
  }
  return Object.keys(CASES);
}

async function subscribe({ url, batch }) {
  const client = await Client.open(url, ["wsgateway.v1"]);
  expect(client.socket.extensions === ANSWER, `extensions "${client.socket.extensions}"`);
  expect(JSON.parse(await client.text()).type === "connection:established", "no greeting");
  client.socket.send(JSON.stringify({ type: "subscribe", id: 1, channels: [">"], batch }));
  expect(JSON.parse(await client.text()).type === "subscription_ack", "no acknowledgement");
  return client;
}

/** Subscribes one client for each way, says so in `window.subscribed`, and gives their texts up to the one on "end". */
async function listen(ways) {
  const clients = await Promise.all(ways.map(subscribe));
  window.subscribed = true;
  return Promise.all(
    clients.map(async (client) => {
      const heard = [await client.text()];
      while (!heard.at(-1).includes('"channel":"end"')) heard.push(await client.text());
      await client.close(1000);
      return heard;
    }),
  );
}

/** Begins something and keeps its outcome for whoever asks later. */
function begin(promise) {
  window.outcome = undefined;
  promise.then(
    (good) => (window.outcome = { good }),
    (error) => (window.outcome = { bad: `${error.message}\n${error.stack}` }),
  );
}
