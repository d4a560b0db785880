/** A TCP relay that can fall silent, cut its connections, or refuse WebSocket as some networks do. */
import { connect, createServer, type Server, type Socket } from 'node:net';

export class Relay {
  readonly #swallowed = new Set<Socket>();
  readonly #sockets = new Set<Socket>();
  #server!: Server;
  port = 0;
  /** Nothing is passed on any more, nothing is closed: a dead network. */
  frozen = false;
  /** Requests for an upgrade are answered 400. */
  noWebSocket = false;
  /** Requests for an upgrade are passed to nobody, and never answered. */
  swallowsWebSocket = false;
  connections = 0;

  static async start(target: number): Promise<Relay> {
    const relay = new Relay();
    relay.#server = createServer((socket) => relay.#accept(socket, target));
    await new Promise<void>((done) => relay.#server.listen(0, '127.0.0.1', done));
    relay.port = (relay.#server.address() as { port: number }).port;
    return relay;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}/ws`;
  }

  /** Resets every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** Resets the connections whose upgrade was swallowed. */
  cutUnanswered(): void {
    for (const socket of this.#swallowed) socket.resetAndDestroy();
    this.#swallowed.clear();
  }

  stop(): void {
    this.cut();
    this.#server.close();
  }

  #accept(client: Socket, target: number): void {
    this.connections += 1;
    const server = connect(target, '127.0.0.1');
    const pairs = [
      [client, server],
      [server, client],
    ] as const;
    for (const [from, to] of pairs) {
      this.#sockets.add(from);
      from.on('data', (data) => {
        if (this.frozen) return;
        const upgrade = from === client && /^upgrade: *websocket/im.test(data.toString('latin1'));
        if (upgrade && this.swallowsWebSocket) return void this.#swallowed.add(client);
        if (upgrade && this.noWebSocket) {
          client.end('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
          server.destroy();
          return;
        }
        to.write(data);
      });
      from.on('error', () => {});
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
    }
  }
}
