/**
 * Real servers for tests: nats-server and the gateway, each on a port of its own that stays the same over restarts.
 * Every process ends with the test process.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { NatsClient } from './nats.js';
import { until } from './until.js';

const repository = resolve(import.meta.dirname, '../../../..');
export const STREAM = 'PRICES';
/** Subjects are channels behind this prefix. */
export const PREFIX = 'p.';

/** The gateway that hack/sdk has built; with cargo's own rule for where that is. */
export function gatewayBinary(): string {
  const binary = join(process.env.CARGO_TARGET_DIR ?? join(repository, 'target'), 'debug', 'gateway');
  if (!existsSync(binary)) throw new Error(`${binary} is missing: run cargo build --workspace --bins`);
  return binary;
}

/**
 * As the harness of the Rust tests has them: below the ports of outgoing connections (Linux: 32768 and up), so that no
 * client takes one in between, and above those that `fetch` refuses to connect to (10080 is the highest).
 */
const PORTS = { first: 20_000, count: 12_000 };
/** Another worker, another process: it begins elsewhere. */
let nextPort = (process.pid * 97) % PORTS.count;

/** A port that nobody listens on. It is not told twice, so that a server finds its own again after a restart. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < PORTS.count; tries += 1) {
    const port = PORTS.first + nextPort;
    nextPort = (nextPort + 1) % PORTS.count;
    if (await isFree(port)) return port;
  }
  throw new Error('every port is taken');
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const free = await new Promise<boolean>((done) => server.once('error', () => done(false)).listen(port, '127.0.0.1', () => done(true)));
  if (free) await new Promise((done) => server.close(done));
  return free;
}

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** A child process with its log in a file. */
class Server {
  readonly folder: string;
  child: ChildProcess | null = null;

  constructor(
    readonly name: string,
    readonly binary: string,
  ) {
    this.folder = mkdtempSync(join(tmpdir(), `wsgateway-${name}-`));
  }

  get log(): string {
    return readFileSync(join(this.folder, 'log'), 'utf8');
  }

  launch(args: string[]): void {
    // The server writes by itself: nothing of ours is still to be opened or flushed when its folder is removed.
    const log = openSync(join(this.folder, 'log'), 'a');
    const child = spawn(this.binary, args, { stdio: ['ignore', log, log], env: { ...process.env, WSGATEWAY_LOG_FORMAT: 'json' } });
    closeSync(log);
    running.add(child);
    child.on('exit', () => running.delete(child));
    this.child = child;
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    const { child } = this;
    this.child = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((done) => child.on('exit', done));
    child.kill(signal);
    await ended;
  }

  /** Waits for a condition, and fails with the log when the process ends before. */
  async ready(what: string, condition: () => Promise<boolean>): Promise<void> {
    await until(
      what,
      () => this.child?.exitCode !== null || condition(),
      () => this.log,
    );
    if (this.child?.exitCode !== null) throw new Error(`${this.name} ended:\n${this.log}`);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** nats-server with a JetStream stream, and a client of it. */
export class Nats {
  readonly #server = new Server(
    'nats',
    execFileSync('bash', [join(repository, 'hack/tools'), '--path', 'nats-server'], { encoding: 'utf8' }).trim(),
  );
  client!: NatsClient;
  port = 0;

  static async start(stream: object = {}): Promise<Nats> {
    const nats = new Nats();
    nats.port = await freePort();
    const { folder } = nats.#server;
    writeFileSync(
      join(folder, 'nats.conf'),
      `listen: "127.0.0.1:${nats.port}"\njetstream { store_dir: ${JSON.stringify(join(folder, 'store'))} }\n`,
    );
    nats.#server.launch(['-c', join(folder, 'nats.conf')]);
    await nats.#server.ready('nats-server', async () => {
      nats.client = await NatsClient.connect(nats.port);
      return true;
    });
    await nats.createStream(stream);
    return nats;
  }

  async createStream(stream: object = {}): Promise<void> {
    const config = { name: STREAM, subjects: [`${PREFIX}>`], storage: 'file', retention: 'limits', allow_direct: true, ...stream };
    await this.client.api(`STREAM.CREATE.${STREAM}`, config);
  }

  async deleteStream(): Promise<void> {
    await this.client.api(`STREAM.DELETE.${STREAM}`, {});
  }

  /** Stores a message on a channel; returns its offset. */
  publish(channel: string, payload: unknown): Promise<number> {
    const bytes = payload instanceof Uint8Array ? payload : Buffer.from(JSON.stringify(payload));
    return this.client.publish(PREFIX + channel, bytes);
  }

  async stop(): Promise<void> {
    this.client.close();
    await this.#server.end('SIGTERM');
    this.#server.remove();
  }
}

/** A gateway, ready. */
export class Gateway {
  readonly #server = new Server('gateway', gatewayBinary());
  #arguments: string[] = [];
  port = 0;

  static async start(nats: Nats, extra: object = {}): Promise<Gateway> {
    const gateway = new Gateway();
    gateway.port = await freePort();
    const admin = await freePort();
    const config = {
      name: 'test/prices',
      source: { jetStream: { servers: [`nats://127.0.0.1:${nats.port}`], stream: STREAM } },
      channels: { stripPrefix: PREFIX },
      drain: { window: 0 },
      ...extra,
    };
    const file = join(gateway.#server.folder, 'gateway.yaml');
    writeFileSync(file, JSON.stringify(config)); // YAML holds all of JSON
    gateway.#arguments = ['--config', file, '--listen', `127.0.0.1:${gateway.port}`, '--admin', `127.0.0.1:${admin}`];
    await gateway.launch();
    return gateway;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}/ws`;
  }

  get log(): string {
    return this.#server.log;
  }

  /** A metric without labels, or the sum over all of them. */
  async metric(name: string): Promise<number> {
    const text = await (await fetch(`http://${this.#arguments.at(-1)}/metrics`)).text();
    const samples = text.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'gm'));
    return [...samples].reduce((sum, [, value]) => sum + Number(value), 0);
  }

  /** Starts it again on the same port. */
  async launch(): Promise<void> {
    this.#server.launch(this.#arguments);
    const admin = this.#arguments.at(-1);
    await this.#server.ready('a ready gateway', async () => (await fetch(`http://${admin}/readyz`)).ok);
  }

  end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    return this.#server.end(signal);
  }

  async stop(): Promise<void> {
    await this.end('SIGKILL');
    this.#server.remove();
  }
}
