/** What most test files begin with: servers, and a browser with pages. Started and stopped by the hooks of the file that asks for them. */
import { resolve } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { type Site, serve, startBrowser } from './browser.js';
import { Issuer } from './issuer.js';
import { Relay } from './relay.js';
import { Gateway, Nats } from './servers.js';

export interface Servers {
  nats: Nats;
  gateway: Gateway;
  /** In front of the gateway. */
  relay: Relay;
  issuer: Issuer;
}

/** A nats-server and a gateway for all tests of a file, or for each of them; `tokens`: nobody comes in without one of `issuer`. */
export function withServers(lifetime: 'all' | 'each', started: (servers: Servers) => void, { tokens = false } = {}): void {
  const [begin, end] = lifetime === 'all' ? [beforeAll, afterAll] : [beforeEach, afterEach];
  let stop = async (): Promise<void> => {};
  begin(async () => {
    const issuer = new Issuer();
    const nats = await Nats.start();
    const gateway = await Gateway.start(nats, tokens ? issuer.config : {});
    const relay = await Relay.start(gateway.port);
    stop = async () => {
      relay.stop();
      await gateway.stop();
      await nats.stop();
      issuer.remove();
    };
    started({ nats, gateway, relay, issuer });
  });
  end(() => stop());
}

const built = resolve(import.meta.dirname, '../../dist');

/** A browser for all tests of a file, and a site with these pages, the built package, and the files of other folders. */
export function withBrowser(
  pages: Record<string, string>,
  started: (opened: { browser: Browser; site: Site }) => void,
  folders: readonly string[] = [],
): void {
  let stop = async (): Promise<void> => {};
  beforeAll(async () => {
    const all = [...folders, built, resolve(built, 'min')];
    const [browser, site] = await Promise.all([startBrowser(), serve({ '/favicon.ico': '', ...pages }, all)]);
    stop = async () => {
      site.stop();
      await browser.close();
    };
    started({ browser, site });
  });
  afterAll(() => stop());
}
