/** As much of a NATS client as tests need: requests over the text protocol, so JetStream's API and acknowledgements. */
import { connect, type Socket } from 'node:net';

interface Waiting {
  resolve(payload: string): void;
  reject(error: Error): void;
}

export class NatsClient {
  readonly #waiting = new Map<string, Waiting>();
  #buffer = Buffer.alloc(0);
  #next = 0;

  private constructor(readonly socket: Socket) {
    socket.on('data', (data) => this.#take(data));
    socket.on('close', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('nats-server is gone'));
      this.#waiting.clear();
    });
  }

  static async connect(port: number): Promise<NatsClient> {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true });
    await new Promise((done, fail) => {
      socket.once('connect', done);
      socket.once('error', fail);
    });
    const client = new NatsClient(socket);
    socket.on('error', () => {});
    socket.write('CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":false}\r\nSUB _INBOX.> 1\r\n');
    return client;
  }

  /** A JetStream API call; an error in the answer is thrown. */
  async api(call: string, body: object): Promise<Record<string, unknown>> {
    const answer = JSON.parse(await this.#request(`$JS.API.${call}`, Buffer.from(JSON.stringify(body))));
    if (answer.error) throw new Error(`${call}: ${JSON.stringify(answer.error)}`);
    return answer;
  }

  /** Stores a message; returns its sequence. */
  async publish(subject: string, payload: Uint8Array): Promise<number> {
    const ack = JSON.parse(await this.#request(subject, payload));
    if (ack.error) throw new Error(JSON.stringify(ack.error));
    return ack.seq;
  }

  close(): void {
    this.socket.destroy();
  }

  #request(subject: string, payload: Uint8Array): Promise<string> {
    const inbox = `_INBOX.${++this.#next}`;
    return new Promise((resolve, reject) => {
      this.#waiting.set(inbox, { resolve, reject });
      this.socket.write(Buffer.concat([Buffer.from(`PUB ${subject} ${inbox} ${payload.length}\r\n`), payload, Buffer.from('\r\n')]));
    });
  }

  #take(data: Buffer): void {
    this.#buffer = Buffer.concat([this.#buffer, data]);
    for (;;) {
      const end = this.#buffer.indexOf('\r\n');
      if (end < 0) return;
      const line = this.#buffer.subarray(0, end).toString();
      if (line.startsWith('PING')) this.socket.write('PONG\r\n');
      const message = /^H?MSG (\S+) .*?(\d+)$/.exec(line);
      const size = message ? Number(message[2]) + 2 : 0;
      if (this.#buffer.length < end + 2 + size) return;
      if (message) {
        const subject = message[1] as string;
        this.#waiting.get(subject)?.resolve(this.#buffer.subarray(end + 2, end + size).toString());
        this.#waiting.delete(subject);
      }
      this.#buffer = this.#buffer.subarray(end + 2 + size);
    }
  }
}
