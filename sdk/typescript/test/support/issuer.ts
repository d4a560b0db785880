/** Whoever issues tokens: a secret in a file, for the configuration of a gateway, and tokens that are signed with it. */
import { createHmac, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');

export class Issuer {
  readonly #secret = randomBytes(32).toString('hex');
  readonly #folder = mkdtempSync(join(tmpdir(), 'wsgateway-issuer-'));
  /** Tokens that were issued. */
  issued = 0;

  constructor() {
    writeFileSync(join(this.#folder, 'key'), this.#secret);
  }

  /** For the configuration of a gateway: any token may hear everything, and without one nobody comes in. */
  get config(): { auth: object } {
    return { auth: { jwt: { keys: [{ file: join(this.#folder, 'key') }], algorithms: ['HS256'], leeway: 0 } } };
  }

  /** A token that is good for some seconds. */
  token(seconds: number, user = 'ann'): string {
    this.issued += 1;
    // Whole seconds: `exp` is rounded up, so that a token is never good for nothing.
    const input = `${part({ alg: 'HS256' })}.${part({ sub: user, exp: Math.ceil(Date.now() / 1000) + seconds, jti: this.issued })}`;
    return `${input}.${createHmac('sha256', this.#secret).update(input).digest('base64url')}`;
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
