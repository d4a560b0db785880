/** A headless Chromium, and a web server whose pages come from strings and built files. */
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { delimiter, extname, join, resolve } from 'node:path';
import { type Browser, chromium } from 'playwright-core';

/** The same names in the same order as in hack/chromium. */
const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
const TYPES: Record<string, string> = { '.js': 'text/javascript', '.html': 'text/html' };

function binary(): string {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  const folders = (process.env.PATH ?? '').split(delimiter);
  const found = NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).find((path) => existsSync(path));
  if (!found) throw new Error('no Chromium on PATH: run make chromium, or name one in CHROMIUM');
  return found;
}

export function startBrowser(): Promise<Browser> {
  // Root may not use the sandbox, and a container often cannot. The pages are our own.
  return chromium.launch({ executablePath: binary(), args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] });
}

export interface Site {
  url: string;
  /** Answers `/hang`: a page that asks for it by a synchronous request stands still until then. */
  release(): void;
  stop(): void;
}

/** Serves these pages, and the files of these folders. */
export async function serve(pages: Record<string, string>, folders: string[]): Promise<Site> {
  const hanging = new Set<ServerResponse>();
  const server: Server = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://x').pathname;
    if (path === '/hang') return void hanging.add(response);
    const file = folders.map((folder) => resolve(folder, `.${path}`)).find((name) => existsSync(name) && extname(name) !== '');
    const body = pages[path] ?? (file && readFileSync(file));
    response.writeHead(body === undefined ? 404 : 200, { 'content-type': TYPES[extname(path)] ?? 'text/html' });
    response.end(body);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}/`,
    release() {
      for (const response of hanging) response.end();
      hanging.clear();
    },
    stop() {
      server.closeAllConnections();
      server.close();
    },
  };
}
