/** What the chart makes of the boards, from `helm template` on standard input: one ConfigMap each, below the limit, unchanged. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { BOARDS, FOLDER } from './all.ts';

/** The API server takes 1 MiB; labels and annotations need some of it, and so does the copy that kubectl apply keeps. */
const MOST = 400 * 1024;

interface ConfigMap {
  readonly metadata: { name: string; labels: Record<string, string>; annotations?: Record<string, string> };
  readonly data: Record<string, string>;
}

const maps = parseAllDocuments(readFileSync(0, 'utf8'))
  .map((document) => document.toJS() as ConfigMap | null)
  .filter((map) => map !== null);
const problems: string[] = [];
for (const { name } of BOARDS) {
  const map = maps.find(({ data }) => `wsgateway-${name}.json` in data);
  const text = map?.data[`wsgateway-${name}.json`];
  if (!map || text === undefined) problems.push(`no ConfigMap for the board ${name}`);
  else if (text !== readFileSync(join(FOLDER, `${name}.json`), 'utf8')) problems.push(`${map.metadata.name} has another board`);
  else if (text.length > MOST) problems.push(`${map.metadata.name} has ${text.length} bytes`);
  else if (map.metadata.labels['grafana_dashboard'] !== '1') problems.push(`${map.metadata.name} has no label for the sidecar`);
  else if (map.metadata.annotations?.['grafana_folder'] !== 'wsgateway') problems.push(`${map.metadata.name} has no folder`);
}
if (problems.length > 0) {
  console.error(problems.map((problem) => `boards: ${problem}`).join('\n'));
  process.exit(1);
}
console.log(`boards: the chart has a ConfigMap for each of ${BOARDS.length} boards`);
