// Clients of the TypeScript SDK for the loss meter, in one process of Node.
//
// In: the built SDK, the gateway's URL and, where Node has no WebSocket of its own, a package that has one; on standard
// input one line with the channels of each client as JSON. Out: one JSON array a line, of what each client hears:
// ["message", client, channel, number, offset], ["ack", client, offset], ["rejected", client],
// ["gap", client, channel, from, to, reason], ["ended", client, code]. Ends with its standard input.
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [sdk, url, sockets] = process.argv.slice(2);
const { createClient } = await import(pathToFileURL(sdk).href);
const WebSocket = sockets ? (await import(pathToFileURL(sockets).href)).default : globalThis.WebSocket;

let waiting = '';
const say = (...event) => {
  if (waiting === '') setImmediate(flush);
  waiting += `${JSON.stringify(event)}\n`;
};
const flush = () => {
  process.stdout.write(waiting);
  waiting = '';
};

const start = (number, channels) => {
  const backoff = { baseMs: 200, capMs: 5000, stableMs: 1000 };
  const client = createClient({ url, WebSocket, backoff, lazy: true });
  // The client drops what came before and says so; the ledger must hear of it, under a number that it knows.
  const numbers = new Map();
  client.subscribe(channels, ({ channel, offset, data }) => {
    numbers.set(channel, data.n);
    say('message', number, channel, data.n, offset);
  });
  client.on('duplicate', ({ channel, offset }) => say('message', number, channel, numbers.get(channel) ?? 0, offset));
  client.on('subscribed', ({ offset }) => say('ack', number, offset));
  client.on('rejected', () => say('rejected', number));
  client.on('gap', ({ channel, from, to, reason }) => say('gap', number, channel, from, to, reason));
  client.on('close', ({ code }) => say('ended', number, code));
  client.connect();
};

const input = createInterface({ input: process.stdin });
input.on('line', (line) => JSON.parse(line).forEach(({ number, channels }) => start(number, channels)));
input.on('close', () => process.exit(0));
