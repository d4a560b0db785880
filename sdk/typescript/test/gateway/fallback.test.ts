/** The lines without a way back on a real gateway, behind a network that refuses WebSocket. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Publisher } from '../support/publisher.js';
import { numbers, type Recorder, range, record } from '../support/recorder.js';
import { Relay } from '../support/relay.js';
import { Gateway, Nats } from '../support/servers.js';
import { until } from '../support/until.js';

let nats: Nats;
let gateway: Gateway;
let relay: Relay;
let recorder: Recorder;

beforeEach(async () => {
  nats = await Nats.start();
  gateway = await Gateway.start(nats);
  relay = await Relay.start(gateway.port);
  relay.noWebSocket = true;
});
afterEach(async () => {
  recorder.client.close();
  relay.stop();
  await gateway.stop();
  await nats.stop();
});

test.each(['sse', 'poll'] as const)(
  '%s: delivers everything once, over cut connections and a gateway that is killed',
  async (transport) => {
    await nats.publish('line.last', { n: 99 });
    recorder = record({ url: relay.url, fallback: [transport] });
    recorder.client.subscribe('line.a', recorder.receive);
    await recorder.live();
    expect(recorder.client.transport).toBe(transport);

    const publisher = new Publisher(nats, 'line.a');
    const more = async () => {
      const before = recorder.messages.length;
      await until(
        'messages',
        () => recorder.messages.length > before + 20,
        () => JSON.stringify(recorder.events.slice(-6)),
      );
    };
    await more();
    relay.cut();
    await more();
    const last: unknown[] = [];
    recorder.client.subscribe('line.last', ({ data, snapshot }) => void last.push([data, snapshot]), { snapshot: true });
    await until('the last value', () => last.length === 1);
    expect(last).toEqual([[{ n: 99 }, true]]);
    await more();
    await gateway.end('SIGKILL');
    await gateway.launch();
    await more();
    const count = await publisher.stop();
    await until('all', () => recorder.messages.length >= count);
    expect(numbers(recorder.messages)).toEqual(range(1, count));
    expect(recorder.of('gap')).toEqual([]);
  },
);

test.each(['sse', 'poll'] as const)('%s: a channel that is refused is reported, and the others work', async (transport) => {
  recorder = record({ url: relay.url, fallback: [transport] });
  recorder.client.subscribe('good', recorder.receive);
  await recorder.live();
  recorder.client.subscribe('bad..channel', recorder.receive);
  await until(
    'the refusal',
    () => recorder.of('rejected').length === 1,
    () => JSON.stringify(recorder.events.slice(-6)),
  );
  expect(recorder.of('rejected')[0]).toMatchObject({ channel: 'bad..channel' });
  await nats.publish('good', { n: 1 });
  await until('the message', () => recorder.messages.length === 1);
  expect(recorder.client.transport).toBe(transport);
});

test('when WebSocket works again it is taken, and nothing is lost on the way', async () => {
  recorder = record({ url: relay.url, fallback: ['sse'], probeMs: 100 });
  recorder.client.subscribe('back.a', recorder.receive);
  await recorder.live();
  expect(recorder.client.transport).toBe('sse');
  const publisher = new Publisher(nats, 'back.a');
  await until('messages', () => recorder.messages.length > 20);
  relay.noWebSocket = false;
  await until('a WebSocket', () => recorder.client.transport === 'websocket' && recorder.client.state === 'live');
  const count = await publisher.stop();
  await until('all', () => recorder.messages.length >= count);
  expect(numbers(recorder.messages)).toEqual(range(1, count));
  expect(recorder.of('gap')).toEqual([]);
});
