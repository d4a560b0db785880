/** Where there is no page (a server that renders React): nothing connects, nothing throws. */
import { renderToString } from 'react-dom/server';
import { afterEach, expect, test, vi } from 'vitest';
import { createClient } from '../../src/index.js';
import { useChannel, useConnection, WsGatewayProvider } from '../../src/react.js';

afterEach(() => void vi.unstubAllGlobals());

function Price() {
  const { data } = useChannel<{ price: number }>('BTC.price');
  return `${data?.price ?? 'none'} ${useConnection().state}`;
}

test('hooks render on a server, also with a URL that is relative to the page', () => {
  const page = (
    <WsGatewayProvider url="/ws">
      <Price />
    </WsGatewayProvider>
  );
  expect(renderToString(page)).toBe('none closed');
});

test.each(['/ws', 'not a url', 'wss://'])('a URL that cannot be connected to (%s) is reported by whoever connects', (url) => {
  const client = createClient({ url, lazy: true });
  const errors: unknown[] = [];
  client.on('error', (event) => void errors.push(event));
  expect(() => client.connect()).toThrow(`cannot connect to ${JSON.stringify(url)}: write wss://host/path`);
  expect(client.state).toBe('refused');
  expect(errors).toMatchObject([{ code: 'bad_url', message: expect.stringContaining('cannot connect to') }]);
  expect(() => createClient({ url })).toThrow('cannot connect to');
  expect(() => createClient({})).toThrow('createClient needs url or urls');
});

test('in a page a URL may be relative, and HTTP', async () => {
  const opened: string[] = [];
  class Socket {
    readyState = 0;
    constructor(url: string) {
      opened.push(url);
    }
    close(): void {}
  }
  vi.stubGlobal('location', { href: 'https://site.example/app/page' });
  const clients = ['/ws', 'live', 'http://other:8080/ws?keep=1'].map((url) => createClient({ url, WebSocket: Socket as never }));
  await vi.waitUntil(() => opened.length === 3);
  for (const client of clients) client.close();
  expect(opened).toEqual(['wss://site.example/ws', 'wss://site.example/app/live', 'ws://other:8080/ws?keep=1']);
});
