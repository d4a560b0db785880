/** Tests use what users get: the built package. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';

export default function setup(): void {
  const built = resolve(import.meta.dirname, '../../dist/index.js');
  if (!existsSync(built)) throw new Error(`${built} is missing: run npm run build, or hack/sdk for everything`);
}
