import { expect, test } from 'vitest';
import { SseParser } from '../../src/sse-parser.js';

const STREAM = [
  ': a comment\n\n',
  'event: subscription_ack\nid: e:5\ndata: {"offset":5}\n\n',
  'id: e:6\r\ndata: {"n":\r\ndata: 1}\r\n\r\n',
  'data:no space\n\n',
  'retry: 1000\nunknown: x\n\n',
  'id\rdata:  two spaces\r\r',
  'event: only a name\n\n',
  'data\n\n',
  'id: e:7\n\n',
  ': only a comment\n\n',
].join('');

const EVENTS = [
  { event: 'subscription_ack', data: '{"offset":5}', id: 'e:5' },
  { event: 'message', data: '{"n":\n1}', id: 'e:6' },
  { event: 'message', data: 'no space', id: 'e:6' },
  { event: 'message', data: ' two spaces', id: '' },
  { event: 'message', data: '', id: '' },
  // A heartbeat: the cursor, and no message.
  { event: 'message', data: undefined, id: 'e:7' },
];

test('events are read as the standard says', () => {
  expect(new SseParser().take(STREAM)).toEqual(EVENTS);
});

test('it does not matter where the text is cut', () => {
  for (const size of [1, 2, 3, 7, 50]) {
    const parser = new SseParser();
    const events = [];
    for (let i = 0; i < STREAM.length; i += size) events.push(...parser.take(STREAM.slice(i, i + size)));
    expect(events).toEqual(EVENTS);
  }
});

test('an unfinished event is not an event, and may not grow for ever', () => {
  const parser = new SseParser();
  expect(parser.take('data: x\n')).toEqual([]);
  const piece = `data: ${'x'.repeat(1 << 20)}\n`;
  expect(() => {
    for (let i = 0; i < 20; i++) parser.take(piece);
  }).toThrow('larger');
});
