/** Tokens on a real gateway that asks for them: exchanged on every transport without a loss, and refused ones. */
import { afterEach, expect, test } from 'vitest';
import type { ClientOptions } from '../../src/index.js';
import { withServers } from '../support/fixture.js';
import { Issuer } from '../support/issuer.js';
import { Publisher } from '../support/publisher.js';
import { numbers, type Recorder, range, record } from '../support/recorder.js';
import type { Relay } from '../support/relay.js';
import type { Gateway, Nats } from '../support/servers.js';
import { until } from '../support/until.js';

let nats: Nats;
let issuer: Issuer;
let gateway: Gateway;
let relay: Relay;
let recorder: Recorder;

withServers('each', (servers) => ({ nats, gateway, relay, issuer } = servers), { tokens: true });
afterEach(() => recorder.client.close());

function connect(options: Partial<ClientOptions>): void {
  recorder = record({ url: relay.url, ...options });
  recorder.client.subscribe('line.a', recorder.receive);
}

const says = () => JSON.stringify(recorder.events.slice(-8));

test.each(['websocket', 'sse', 'poll'] as const)(
  '%s: tokens of seconds are exchanged under live messages, and nothing is lost',
  async (transport) => {
    relay.noWebSocket = transport !== 'websocket';
    connect({ token: () => issuer.token(2), fallback: transport === 'websocket' ? [] : [transport], probeMs: 600_000 });
    await recorder.live();
    expect(recorder.client.transport).toBe(transport);
    const publisher = new Publisher(nats, 'line.a');
    const before = issuer.issued;
    await until('three more tokens', () => issuer.issued >= before + 3, says);
    const count = await publisher.stop();
    await until('all', () => recorder.messages.length >= count, says);
    expect(numbers(recorder.messages)).toEqual(range(1, count));
    expect(recorder.of('gap')).toEqual([]);
    expect(recorder.of('error')).toEqual([]);
    // A WebSocket goes on, and an event stream is opened again, without an end that anybody would notice.
    if (transport !== 'poll') expect(recorder.of('close').filter(({ code }) => code > 4000)).toEqual([]);
    if (transport === 'websocket') expect(recorder.of('open')).toHaveLength(1);
  },
);

test('a login that is away until the token has expired costs a reconnect, and nothing else', async () => {
  const first = issuer.token(2);
  let away = true;
  connect({
    token: () => {
      if (issuer.issued === 1 && !recorder.client.cursor) return first;
      if (away) throw new Error('the login is away');
      return issuer.token(600);
    },
  });
  await recorder.live();
  const publisher = new Publisher(nats, 'line.a');
  await until('the end of the token', () => recorder.of('close').some(({ code }) => code === 4004), says);
  expect(recorder.of('error')[0]).toMatchObject({ code: 'token_unavailable' });
  away = false;
  await until('another connection', () => recorder.of('open').length === 2, says);
  await recorder.live();
  const count = await publisher.stop();
  await until('all', () => recorder.messages.length >= count, says);
  expect(numbers(recorder.messages)).toEqual(range(1, count));
  expect(recorder.of('gap')).toEqual([]);
});

test('a token that is refused again and again leads to unauthorized, and a good one out of it', async () => {
  const other = new Issuer();
  let good = false;
  connect({ token: () => (good ? issuer : other).token(600), fallback: [] });
  await until('unauthorized', () => recorder.client.state === 'unauthorized', says);
  expect(recorder.of('error')).toMatchObject([{ code: 'unauthorized' }]);
  good = true;
  recorder.client.connect();
  await recorder.live();
  expect(JSON.stringify(recorder.events)).not.toMatch(/eyJ/);
  other.remove();
});

test('a token that is refused and cannot change leads to refused', async () => {
  const other = new Issuer();
  connect({ token: other.token(600), fallback: ['sse'] });
  await until('refused', () => recorder.client.state === 'refused', says);
  expect(recorder.of('error')).toMatchObject([{ code: 'unauthorized' }]);
  other.remove();
});

test('another user gets a connection of its own, which goes on at the cursor', async () => {
  let user = 'ann';
  connect({ token: () => issuer.token(2, user) });
  await recorder.live();
  await nats.publish('line.a', { n: 1 });
  await until('the first', () => recorder.messages.length === 1, says);
  user = 'bob';
  await until('the connection of the other user', () => recorder.of('open').length === 2, says);
  await nats.publish('line.a', { n: 2 });
  await until('the second', () => recorder.messages.length === 2, says);
  expect(numbers(recorder.messages)).toEqual([1, 2]);
  expect(recorder.of('error')).toMatchObject([{ code: 'wrong_user' }]);
});

test('the gateway logs no token', async () => {
  const tokens = [issuer.token(600), `${issuer.token(600)}x`];
  for (const token of tokens) {
    connect({ token, fallback: ['sse', 'poll'] });
    await until('an end', () => ['live', 'refused'].includes(recorder.client.state), says);
    recorder.client.close();
  }
  for (const token of tokens) expect(gateway.log).not.toContain(token.slice(-20));
});
