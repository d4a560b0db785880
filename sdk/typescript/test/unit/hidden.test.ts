/** When a page that is hidden gives its connection up, with made-up time and a client that only counts. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { pauseWhileHidden } from '../../src/hidden.js';
import type { ConnectionState, WsGatewayClient } from '../../src/index.js';

let calls: string[];
let client: { state: ConnectionState };
let page: EventTarget & { visibilityState: string };
let stop: () => void;

const show = (state: 'visible' | 'hidden') => {
  page.visibilityState = state;
  page.dispatchEvent(new Event('visibilitychange'));
};

beforeEach(() => {
  vi.useFakeTimers();
  calls = [];
  page = Object.assign(new EventTarget(), { visibilityState: 'visible' });
  vi.stubGlobal('document', page);
  const puppet = {
    state: 'live' as ConnectionState,
    connect: () => void calls.push('connect'),
    close: () => {
      calls.push('close');
      client.state = 'closed';
    },
  };
  client = puppet;
  stop = pauseWhileHidden(puppet as unknown as WsGatewayClient, { afterMs: 1000 });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test('a page that is hidden for long closes, and connects when it is seen', () => {
  show('hidden');
  vi.advanceTimersByTime(999);
  expect(calls).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(calls).toEqual(['close']);
  show('visible');
  expect(calls).toEqual(['close', 'connect']);
});

test('a page that is hidden for a moment, again and again, keeps its connection', () => {
  for (let n = 0; n < 10; n++) {
    show('hidden');
    vi.advanceTimersByTime(900);
    show('visible');
  }
  expect(calls).toEqual([]);
});

test.each(['closed', 'refused'] as const)('a client that is %s already is left alone', (state) => {
  client.state = state;
  show('hidden');
  vi.advanceTimersByTime(5000);
  show('visible');
  expect(calls).toEqual([]);
});

test('after it was stopped nothing happens', () => {
  show('hidden');
  stop();
  vi.advanceTimersByTime(5000);
  show('visible');
  expect(calls).toEqual([]);
});

test('where there is no page it does nothing', () => {
  vi.stubGlobal('document', undefined);
  expect(() => pauseWhileHidden({} as WsGatewayClient)()).not.toThrow();
});
