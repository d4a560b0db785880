/** Writes the boards into the chart: `generate.ts [--check]`. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BOARDS, FOLDER } from './all.ts';
import { assemble } from './parts.ts';

const check = process.argv.includes('--check');
const stale: string[] = [];
const wanted = new Set<string>();
mkdirSync(FOLDER, { recursive: true });
for (const board of BOARDS) {
  const file = join(FOLDER, `${board.name}.json`);
  const text = `${JSON.stringify(assemble(board), null, 2)}\n`;
  wanted.add(`${board.name}.json`);
  if (existsSync(file) && readFileSync(file, 'utf8') === text) continue;
  stale.push(file);
  if (!check) writeFileSync(file, text);
}
for (const name of readdirSync(FOLDER).filter((name) => !wanted.has(name))) {
  stale.push(join(FOLDER, name));
  if (!check) rmSync(join(FOLDER, name));
}
if (check && stale.length > 0) {
  console.error(`boards: out of date: ${stale.join(', ')}: run hack/boards generate and commit the result`);
  process.exit(1);
}
console.log(`boards: ${wanted.size} boards ${check ? 'are up to date' : 'written'}`);
