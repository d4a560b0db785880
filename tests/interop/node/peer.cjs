"use strict";
// What the programs of this folder share: a client that is asked for one message at a time, and a list of cases.
const assert = require("node:assert");
const [, , modules, url, ...rest] = process.argv;
const { WebSocket, WebSocketServer } = require(`${modules}/ws`);

// How long one case may take on a machine that compiles at the same time.
const CASE_MS = 60_000;
const LARGEST = 16 << 20;

/** A connection whose messages, pongs and end are waited for one by one. */
class Client {
  constructor(address, { protocols = [], ...options } = {}) {
    this.socket = new WebSocket(address, protocols, { perMessageDeflate: false, maxPayload: LARGEST, ...options });
    this.heard = [];
    this.waiting = [];
    this.socket.on("message", (data, binary) => this.hear({ data, binary }));
    this.socket.on("pong", (data) => this.hear({ pong: data }));
    this.socket.on("close", (code, reason) => this.hear({ code, reason: reason.toString() }));
    this.socket.on("error", (error) => this.hear({ error }));
    this.socket.on("open", () => this.hear({ open: true }));
  }

  static async open(address, options) {
    const client = new Client(address, options);
    const first = await client.next();
    assert.ok(first.open, `not opened: ${first.error ?? first.code}`);
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

  /** Sends a message in one frame or, if more data is given, in fragments. */
  send(...fragments) {
    const binary = typeof fragments[0] !== "string";
    fragments.forEach((data, at) => this.socket.send(data, { binary, fin: at === fragments.length - 1 }));
  }

  /** The next event is this message, byte for byte and of the same kind. */
  async expect(message, what) {
    const binary = typeof message !== "string";
    const event = await this.next();
    assert.ok(event.data, `${what}: ${event.error ?? event.code ?? "a pong"} instead of a message`);
    assert.strictEqual(event.binary, binary, `${what}: text instead of binary or the reverse`);
    const want = Buffer.from(message);
    assert.ok(event.data.equals(want), `${what}: ${event.data.length} bytes differ from the ${want.length} sent`);
  }

  async expectPong(payload, what) {
    const event = await this.next();
    assert.ok(event.pong, `${what}: no pong`);
    assert.ok(event.pong.equals(Buffer.from(payload)), `${what}: another payload`);
  }

  /** The next event is the end, with this code and reason. */
  async expectClose(code, reason, what = "the end") {
    const event = await this.next();
    assert.deepStrictEqual({ code: event.code, reason: event.reason }, { code, reason }, what);
  }

  async close(code = 1000, reason = "") {
    this.socket.close(code, reason);
    await this.expectClose(code, "");
  }
}

/** Text or bytes that deflate makes smaller; different at every place. */
function wordy(length, binary) {
  const text = Array.from({ length: Math.ceil(length / 12) }, (_, n) => `word ${String(n).padStart(6, "0")},`).join("");
  return binary ? Buffer.from(text.slice(0, length)) : text.slice(0, length);
}

/** Bytes that deflate cannot make smaller; the same at every run. */
function noise(length) {
  const bytes = Buffer.alloc(length);
  for (let at = 0, state = 0x9e3779b9; at < length; at += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[at] = state;
  }
  return bytes;
}

/** Runs the cases one after the other; the process fails if one does. */
async function run(cases) {
  for (const [name, body] of Object.entries(cases)) {
    const guard = setTimeout(() => {
      console.error(`FAILED ${name}: not over after ${CASE_MS} ms`);
      process.exit(1);
    }, CASE_MS);
    try {
      await body();
    } catch (error) {
      console.error(`FAILED ${name}: ${error.stack}`);
      process.exit(1);
    }
    clearTimeout(guard);
    console.log(`ok ${name}`);
  }
  // No exit here: it would cut off output that nobody has read yet.
}

module.exports = { Client, WebSocket, WebSocketServer, assert, noise, rest, run, url, wordy };
