/** The WebSocket line: commands and pushes as they are. */
import type { Line, LineHooks, LineOptions } from './transport.js';

/** `readyState` of an open socket. */
const OPEN = 1;

export function openWebSocket(options: LineOptions, hooks: LineHooks): Line {
  const url = new URL(options.url);
  if (options.token !== undefined) url.searchParams.set('token', options.token);
  if (!options.WebSocket) throw new Error('there is no global WebSocket: pass one as the option WebSocket, such as that of the package ws');
  const socket = new options.WebSocket(url.href, options.protocols);
  const silence = (): void => {
    socket.onopen = socket.onmessage = socket.onclose = null;
  };
  socket.onmessage = ({ data }: { data: unknown }) => {
    let push: unknown;
    try {
      push = JSON.parse(data as string);
    } catch {
      return hooks.push({ type: 'error', code: 'not_json', message: 'a frame that is not JSON' });
    }
    hooks.push(push);
  };
  socket.onclose = ({ code, reason }: { code: number; reason: string }) => {
    silence();
    hooks.end(code, reason);
  };
  // Always followed by `onclose`; without a listener, `ws` would throw.
  socket.onerror = () => {};
  return {
    send(command) {
      if (socket.readyState === OPEN) socket.send(JSON.stringify(command));
    },
    close() {
      silence();
      socket.close(1000);
    },
  };
}
