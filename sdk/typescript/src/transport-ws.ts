/** The WebSocket line: commands and pushes as they are. */
import type { Line, LineHooks, LineOptions } from './transport.js';

/** `readyState` of an open socket. */
const OPEN = 1;
/** What a subprotocol may be made of (RFC 9110, 5.6.2), as JSON Web Tokens are. */
const SUBPROTOCOL = /^[\w!#$%&'*+.^`|~-]+$/;

export function openWebSocket(options: LineOptions, hooks: LineHooks): Line {
  const url = new URL(options.url);
  const protocols = [options.protocols].flat();
  const { token } = options;
  // Addresses are kept in logs; a page can say it nowhere else.
  if (token && SUBPROTOCOL.test(token)) protocols.push(`bearer.${token}`);
  else if (token) url.searchParams.set('token', token);
  if (!options.WebSocket) throw new Error('there is no global WebSocket: pass one as the option WebSocket, such as that of the package ws');
  const socket = new options.WebSocket(url.href, protocols);
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
