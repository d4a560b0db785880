/** Clients of the project's own SDK, a publisher, and clients that misbehave. */
import { connect, type Socket } from 'node:net';
import { WebSocket } from 'ws';
import { WsGatewayClient } from '../../../sdk/typescript/src/client.ts';

/** Publishes numbered messages to NATS, and goes on after it was away. */
export class Publisher {
  #socket: Socket | undefined;
  #timer: NodeJS.Timeout | undefined;
  #number = 0;
  /** Subjects with messages a second and bytes of each. */
  rates = new Map<string, { perSecond: number; bytes: number; owed: number }>();

  constructor(
    readonly host: string,
    readonly log: (line: string) => void,
  ) {}

  start(): void {
    this.#dial();
    this.#timer = setInterval(() => this.#tick(), 50);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  set(subject: string, perSecond: number, bytes = 120): void {
    if (perSecond === 0) this.rates.delete(subject);
    else this.rates.set(subject, { perSecond, bytes, owed: 0 });
    this.log(JSON.stringify({ level: 'INFO', message: 'publishing token prices', subject, perSecond, bytes }));
  }

  #dial(): void {
    if (!this.#timer && this.#socket) return;
    const socket = connect(4222, this.host);
    socket.on('data', (data) => {
      if (data.includes('PING')) socket.write('PONG\r\n');
    });
    socket.on('connect', () => {
      socket.write('CONNECT {"verbose":false}\r\n');
      this.#socket = socket;
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#socket = undefined;
      if (this.#timer) setTimeout(() => this.#dial(), 500);
    });
  }

  #tick(): void {
    const lines: string[] = [];
    for (const [subject, rate] of this.rates) {
      rate.owed += rate.perSecond / 20;
      for (; rate.owed >= 1; rate.owed -= 1) {
        this.#number += 1;
        const head = `{"price":${100 + (this.#number % 50)},"n":${this.#number},"fill":"`;
        const text = `${head}${'x'.repeat(Math.max(0, rate.bytes - head.length - 2))}"}`;
        lines.push(`PUB ${subject.replace('*', String(this.#number % 20))} ${text.length}\r\n${text}\r\n`);
      }
    }
    if (lines.length > 0) this.#socket?.write(lines.join(''));
  }
}

export interface Count {
  messages: number;
  gaps: number;
}

/** Clients that subscribe to everything. */
export class Crowd {
  readonly clients: WsGatewayClient[] = [];
  readonly count: Count = { messages: 0, gaps: 0 };

  constructor(
    readonly url: string,
    readonly channels: readonly string[],
  ) {}

  /** More clients, or fewer. */
  size(wanted: number): void {
    while (this.clients.length > wanted) this.clients.pop()?.close();
    while (this.clients.length < wanted) {
      const client = new WsGatewayClient({
        url: this.url,
        WebSocket: WebSocket as never,
        fallback: [],
        backoff: { baseMs: 300, capMs: 3_000 },
      });
      client.on('gap', () => {
        this.count.gaps += 1;
      });
      client.subscribe([...this.channels], () => {
        this.count.messages += 1;
      });
      this.clients.push(client);
    }
  }
}

/** Clients that subscribe and read nothing. */
export function deaf(url: string, count: number, channel: string): () => void {
  const sockets = Array.from({ length: count }, () => {
    const socket = new WebSocket(url, 'wsgateway.v1');
    socket.on('error', () => undefined);
    socket.on('open', () => {
      socket.send(JSON.stringify({ type: 'subscribe', id: 1, channels: [channel] }));
      setTimeout(() => socket.pause(), 200);
    });
    return socket;
  });
  return () => {
    for (const socket of sockets) socket.terminate();
  };
}
