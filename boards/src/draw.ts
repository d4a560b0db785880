/**
 * Draws the boards from what hack/monitoring measured: a page for each board, and pictures of it in light and dark.
 *
 *   draw.ts RESULTS [MORE...] FOLDER   MORE: results of runs that caused some of the faults again
 *   draw.ts RESULTS [MORE...] --docs   pictures and the table of alerts into docs/, real log lines into boards/lines
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execFileSync } from 'node:child_process';
import { chromium } from 'playwright-core';
import { BOARDS, ROOT } from './all.ts';
import { evaluate, type Entry } from './logql.ts';
import { assemble, type Board, type Panel } from './parts.ts';
import type { Results } from './proof/main.ts';
import type { Series } from './proof/prometheus.ts';
import { all, filled, logTree } from './query.ts';

/** Seconds of a column of a log query. */
const COLUMN = 10;
const LINES = 7;

export interface Line {
  readonly label: string;
  readonly values: readonly (readonly [number, number])[];
}

export interface Drawn extends Omit<Panel, 'queries'> {
  readonly place: { x: number; y: number; w: number; h: number };
  readonly lines: readonly Line[];
  readonly rows?: readonly (readonly string[])[];
  readonly heads?: readonly string[];
  readonly text?: readonly string[];
  readonly at?: number;
}

function legend(template: string, metric: Readonly<Record<string, string>>): string {
  if (template === '') return Object.values(metric).join(' ');
  return template.replaceAll('$compare', '2 min').replace(/\{\{(\w+)\}\}/g, (_, name: string) => metric[name] ?? '');
}

function timeOf(entry: Entry): number {
  const found = /"(?:timestamp|time)":"([^"]+)"/.exec(entry.line);
  return found ? Date.parse(found[1] as string) / 1_000 : Number.NaN;
}

/** The lines of a panel with a log query: counts or values by label in columns of time. */
function logLines(panel: Panel, results: Results): Line[] {
  const found: Line[] = [];
  for (const [expr, template] of panel.queries) {
    const text = filled(expr);
    const tree = logTree(text);
    const of = (node: { from: number; to: number }) => text.slice(node.from, node.to);
    const [by] = all(tree, 'Grouping').flatMap((node) => all(node, 'Identifier').map(of));
    const [unwrap] = all(tree, 'UnwrapExpr').flatMap((node) => all(node, 'Identifier').map(of));
    const series = new Map<string, Map<number, number>>();
    for (const entry of evaluate(text, results.logs)) {
      const time = Math.floor(timeOf(entry) / COLUMN) * COLUMN;
      if (!(time >= results.start)) continue;
      const name = legend(template, entry.labels);
      const values = series.get(by === undefined ? '' : name) ?? new Map<number, number>();
      const before = values.get(time) ?? 0;
      values.set(time, unwrap === undefined ? before + 1 : Math.max(before, Number(entry.labels[unwrap])));
      series.set(by === undefined ? '' : name, values);
    }
    // Nothing was logged: a count of 0, and no value.
    if (unwrap === undefined) {
      for (const values of series.values()) {
        for (let at = Math.ceil(results.start / COLUMN) * COLUMN; at < results.end; at += COLUMN) values.set(at, values.get(at) ?? 0);
      }
    }
    for (const [label, values] of series) found.push({ label, values: [...values].sort((a, b) => a[0] - b[0]) });
  }
  return found;
}

function lines(panel: Panel, of: readonly (readonly Series[])[]): Line[] {
  return panel.queries.flatMap(([, template], index) =>
    (of[index] ?? []).map(({ metric, values }) => ({
      label: panel.kind === 'heatmap' ? (metric['le'] ?? '') : legend(template, metric),
      values: values.map(([time, value]) => [time, Number(value)] as const),
    })),
  );
}

/** A table at the time at which it had most to show. */
function tabled(panel: Panel, of: readonly (readonly Series[])[]): Pick<Drawn, 'rows' | 'heads' | 'at'> {
  const series = of[0] ?? [];
  const count = new Map<number, number>();
  for (const { values } of series) for (const [time] of values) count.set(time, (count.get(time) ?? 0) + 1);
  const [at] = [...count].sort((a, b) => b[1] - a[1] || b[0] - a[0])[0] ?? [0];
  const columns = Object.entries(panel.columns ?? {});
  const rows = series.flatMap(({ metric, values }) => {
    const value = values.find(([time]) => time === at);
    return value ? [columns.map(([label]) => (label === 'Value' ? Number(value[1]).toFixed(0) : (metric[label] ?? '')))] : [];
  });
  return { rows: rows.slice(0, panel.height === undefined ? 7 : 6), heads: columns.map(([, head]) => head), at };
}

function drawn(board: Board, results: Results): Drawn[] {
  const places = (assemble(board).panels ?? []).map((panel) => [panel.title, panel.gridPos] as const);
  const found: Drawn[] = [];
  for (const panel of board.rows.flatMap((row) => row.panels)) {
    const place = places.find(([title]) => title === panel.title)?.[1];
    if (!place) throw new Error(`${panel.title} has no place`);
    const { queries: _, ...rest } = panel;
    const of = results.panels[board.name]?.[panel.title] ?? [];
    const base = { ...rest, place, lines: [] as Line[] };
    if (panel.kind === 'logs') {
      const text = evaluate(filled(panel.queries[0]?.[0] ?? ''), results.logs).slice(-LINES).map(({ line }) => line);
      found.push({ ...base, text: text.reverse() });
    } else if (panel.loki) found.push({ ...base, lines: logLines(panel, results) });
    else if (panel.kind === 'table') found.push({ ...base, ...tabled(panel, of) });
    else found.push({ ...base, lines: lines(panel, of) });
  }
  return found;
}

function page(board: Board, results: Results): string {
  const folder = join(ROOT, 'boards/src/draw');
  const uplot = createRequire(import.meta.url).resolve('uplot');
  const rows = (assemble(board).panels ?? []).filter((panel) => panel.type === 'row');
  const data = {
    title: board.title,
    about: board.about,
    panels: drawn(board, results),
    rows: rows.map((row) => ({ title: row.title, y: row.gridPos?.y })),
    faults: results.faults,
    start: results.start,
    end: results.end,
  };
  const text = (file: string) => readFileSync(file, 'utf8');
  const script = (text: string) => `<script>${text.replaceAll('</script', '<\\/script')}</script>`;
  return [
    `<!doctype html><meta charset="utf-8"><title>${board.title}</title>`,
    `<style>${text(join(uplot, '../uPlot.min.css'))}${text(join(folder, 'page.css'))}</style><main id="board"></main>`,
    script(text(join(uplot, '../uPlot.iife.min.js'))),
    script(`const DATA = ${JSON.stringify(data)};`),
    script(text(join(folder, 'page.js'))),
  ].join('\n');
}

/** The pictures, and what fired for which fault. */
function section(results: Results): string {
  const pictures = BOARDS.flatMap(({ name, title }) => [
    `**${title}** ([in dark](boards/${name}-dark.png))`,
    '',
    `![The board ${title}](boards/${name}-light.png)`,
    '',
  ]);
  const order = new Map(results.faults.map(({ name }, index) => [name, index]));
  const rows = [...results.fired]
    .sort((a, b) => (order.get(a.fault) ?? 0) - (order.get(b.fault) ?? 0) || a.seconds - b.seconds)
    .map(({ alert, fault, seconds }) => {
      const name = alert.split(' ')[0] as string;
      return `| [${name}](runbook.md#${name.toLowerCase()})${alert.slice(name.length)} | ${fault} | ${seconds} |`;
    });
  const never = results.never.length === 0 ? 'Every alert fired.' : `These did not fire: ${results.never.join(', ')}.`;
  return [
    ...pictures,
    `## Alerts, and the faults that fired them`,
    '',
    `Durations of the rules divided by ${results.factor}; seconds are those from the fault to the alert, on that scale.`,
    '',
    '| alert | fault | fired after (s) |',
    '|---|---|---:|',
    ...rows,
    '',
    never,
  ].join('\n');
}

/** Puts the results into the documentation, and real log lines next to the checks that need them. */
function publish(results: Results, from: string): void {
  const file = join(ROOT, 'docs/monitoring.md');
  const [begin, end] = ['<!-- begin: written by hack/boards draw -->', '<!-- end -->'];
  const text = readFileSync(file, 'utf8');
  const head = text.slice(0, text.indexOf(begin) + begin.length);
  writeFileSync(file, `${head}\n\n${section(results)}\n\n${text.slice(text.indexOf(end))}`);
  mkdirSync(join(ROOT, 'boards/lines'), { recursive: true });
  writeFileSync(join(ROOT, 'boards/lines/lines.json'), readFileSync(`${from}.lines.json`));
}

const read = (file: string) => JSON.parse(readFileSync(file, 'utf8')) as Results;

/** With what another run fired that caused some of the faults again. */
function joined(results: Results, more: Results): Results {
  const missing = more.fired.filter(({ alert }) => results.never.includes(alert));
  const never = results.never.filter((alert) => !missing.some((one) => one.alert === alert));
  return { ...results, fired: [...results.fired, ...missing], never };
}

async function main(): Promise<void> {
  const to = process.argv.at(-1);
  const [from, ...more] = process.argv.slice(2, -1);
  const folder = to === '--docs' ? join(ROOT, 'docs/boards') : to;
  if (!from || !folder) throw new Error('name the results, and a folder or --docs');
  const results = more.reduce((sum, file) => joined(sum, read(file)), read(from));
  mkdirSync(folder, { recursive: true });
  const found = execFileSync(join(ROOT, 'hack/chromium')).toString();
  const executablePath = /^chromium: (\S+)/m.exec(found)?.[1] as string;
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  for (const board of BOARDS) {
    const file = join(to === '--docs' ? tmpdir() : folder, `wsgateway-${board.name}.html`);
    writeFileSync(file, page(board, results));
    for (const theme of ['light', 'dark'] as const) {
      const context = await browser.newContext({ viewport: { width: 1400, height: 900 }, colorScheme: theme });
      const tab = await context.newPage();
      tab.on('pageerror', (error) => console.error(`boards: ${board.name}: ${error.message}`));
      await tab.goto(`file://${file}`);
      await tab.waitForFunction(() => document.body.dataset['drawn'] === 'yes');
      await tab.screenshot({ path: join(folder, `${board.name}-${theme}.png`), fullPage: true });
      await context.close();
    }
    console.log(`boards: drew ${board.name}`);
  }
  await browser.close();
  if (to === '--docs') publish(results, from);
}

await main();
