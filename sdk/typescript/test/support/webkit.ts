/** WebKit, the engine of Safari, in WebKitGTK's MiniBrowser: driven by its WebDriver, on a display of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { freePort } from './servers.js';
import { until } from './until.js';

/** Where Debian and its descendants keep it. */
const BROWSERS = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu'].map((folder) => `${folder}/webkit2gtk-4.1/MiniBrowser`);

/** One window with its tabs; ended, it is gone with everything it started. */
export class WebKit {
  #session = '';
  /** The tab that it begins with: it ends with the last one. */
  #home = '';

  private constructor(
    private readonly driver: ChildProcess,
    private readonly port: number,
  ) {}

  static async start(): Promise<WebKit> {
    const binary = BROWSERS.find((name) => existsSync(name));
    if (!binary) throw new Error('no MiniBrowser of WebKitGTK 4.1: run make webkit');
    const port = await freePort();
    // A group of its own: the display, the bus and the browser's processes end together.
    const words = ['-a', 'dbus-run-session', '--', 'WebKitWebDriver', `--port=${port}`];
    const driver = spawn('xvfb-run', words, {
      detached: true,
      stdio: 'ignore',
      // Root has no sandbox, and a display in memory no GPU. The pages are our own.
      env: { ...process.env, WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: '1', WEBKIT_DISABLE_COMPOSITING_MODE: '1', NO_AT_BRIDGE: '1' },
    });
    const webkit = new WebKit(driver, port);
    process.on('exit', () => webkit.#kill());
    await until('WebKitWebDriver to answer', async () => (await fetch(`http://127.0.0.1:${port}/status`)).ok);
    const options = { binary, args: ['--automation'] };
    const capabilities = { alwaysMatch: { 'webkitgtk:browserOptions': options } };
    const { sessionId } = (await webkit.#send('POST', '', { capabilities })) as { sessionId: string };
    webkit.#session = `/${sessionId}`;
    webkit.#home = (await webkit.#send('GET', '/window')) as string;
    return webkit;
  }

  /** A new tab with this page; what is done next is done there. */
  async open(url: string): Promise<string> {
    const { handle } = (await this.#send('POST', '/window/new', { type: 'tab' })) as { handle: string };
    await this.show(handle);
    await this.#send('POST', '/url', { url });
    return handle;
  }

  async show(handle: string): Promise<void> {
    await this.#send('POST', '/window', { handle });
  }

  async close(handle: string): Promise<void> {
    await this.show(handle);
    await this.#send('DELETE', '/window');
    await this.show(this.#home);
  }

  /** The value of an expression in the page. */
  evaluate(expression: string): Promise<unknown> {
    return this.#send('POST', '/execute/sync', { script: `return (${expression})`, args: [] });
  }

  async end(): Promise<void> {
    const ended = new Promise((done) => this.driver.on('exit', done));
    await this.#send('DELETE', '').catch(() => {});
    this.#kill();
    await ended;
  }

  #kill(): void {
    if (this.driver.pid === undefined || this.driver.exitCode !== null || this.driver.signalCode !== null) return;
    process.kill(-this.driver.pid, 'SIGKILL');
  }

  async #send(method: string, path: string, body?: object): Promise<unknown> {
    const address = `http://127.0.0.1:${this.port}/session${this.#session}${path}`;
    const response = await fetch(address, { method, ...(body && { body: JSON.stringify(body) }) });
    const { value } = (await response.json()) as { value: { error?: string; message?: string } | null };
    if (!response.ok) throw new Error(`${method} ${path}: ${value?.error} ${value?.message}`);
    return value;
  }
}
