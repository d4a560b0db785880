/**
 * What can be said about boards and alerts without a server: every panel answers a question, every query parses, and every
 * metric, label and value that it names is in docs/metrics.json. Log queries are evaluated over real lines.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BOARDS, ROOT } from './all.ts';
import { evaluate, type Entry } from './logql.ts';
import { assemble, type Board } from './parts.ts';
import { filled, metricsOf, mistake } from './query.ts';
import { recorded, rules } from './rules.ts';

interface Metric {
  readonly name: string;
  readonly type: string;
  readonly program: string;
  readonly labels: Readonly<Record<string, string>>;
}

const problems: string[] = [];
const fail = (where: string, what: string): void => void problems.push(`${where}: ${what}`);

const catalogue = JSON.parse(readFileSync(join(ROOT, 'docs/metrics.json'), 'utf8')) as { metrics: Metric[] };
const metrics = new Map(catalogue.metrics.map((metric) => [metric.name, metric]));
/** What Prometheus adds to every series. */
const OF_TARGETS = ['namespace', 'pod', 'service', 'job', 'instance', 'container', 'endpoint', 'gateway', 'le'];
/** Series that are not ours. */
const OTHERS: Readonly<Record<string, readonly string[]>> = {
  up: [],
  ALERTS: ['alertname', 'alertstate', 'severity'],
};

/** A metric by the name of one of its series. */
function metricOf(series: string): Metric | undefined {
  const base = series.replace(/_(bucket|sum|count)$/, '');
  const histogram = metrics.get(base);
  return metrics.get(series) ?? (histogram?.type === 'histogram' ? histogram : undefined);
}

function checkPromql(where: string, expr: string, variables?: Readonly<Record<string, string>>): void {
  let text: string;
  try {
    text = filled(expr, variables);
  } catch (error) {
    return fail(where, String(error));
  }
  const wrong = mistake('promql', text);
  if (wrong) return fail(where, `is not PromQL ${wrong}`);
  if (/\b(rate|increase)\(/.test(expr) && variables === undefined && /\[\d+\w\]/.test(expr)) {
    fail(where, 'has a fixed window: use $__rate_interval or $__range');
  }
  const { selectors, labels: grouped } = metricsOf(text);
  const there = new Set(OF_TARGETS);
  for (const { metric, matchers } of selectors) {
    const known = metricOf(metric);
    const labels = known ? Object.keys(known.labels) : (OTHERS[metric] ?? recorded().get(metric));
    if (!labels) {
      fail(where, `there is no metric ${metric || text} in docs/metrics.json`);
      continue;
    }
    for (const label of labels) there.add(label);
    for (const { label, op, value } of matchers) {
      if (!labels.includes(label) && !OF_TARGETS.includes(label)) fail(where, `${metric} has no label ${label}`);
      const values = known?.labels[label];
      if (op === '=' && values && !values.includes(value)) fail(where, `${metric} has no ${label}="${value}"`);
    }
  }
  for (const label of grouped) if (!there.has(label)) fail(where, `groups by ${label}, which none of its metrics has`);
}

/** The lines of real programs that the proof wrote down. */
function lines(): Entry[] {
  const folder = join(ROOT, 'boards/lines');
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .flatMap((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as Entry[]);
}

const events = Object.values(JSON.parse(readFileSync(join(ROOT, 'docs/logs.json'), 'utf8')) as Record<string, { message: string; fields: string[] }[]>).flat();

/** Messages and fields that a log query names are in docs/logs.json. */
function checkEvents(where: string, text: string): void {
  for (const [, op, value = ''] of text.matchAll(/\bmessage(=~?)"([^"]+)"/g)) {
    const found = events.filter(({ message }) => (op === '=' ? message === value : new RegExp(`^(?:${value})$`).test(message)));
    if (found.length === 0) fail(where, `there is no event "${value}" in docs/logs.json`);
    const fields = [...OF_TARGETS, ...found.flatMap((event) => event.fields)];
    for (const [, name = ''] of text.matchAll(/(?:\{\{\.|unwrap )(\w+)/g)) {
      if (name !== '' && !fields.includes(name)) fail(where, `"${value}" has no field ${name} in docs/logs.json`);
    }
  }
}

function checkLogql(where: string, expr: string, entries: readonly Entry[]): void {
  const text = filled(expr);
  const wrong = mistake('logql', text);
  if (wrong) return fail(where, `is not LogQL ${wrong}`);
  checkEvents(where, text);
  try {
    if (evaluate(text, entries).length === 0) fail(where, `no line of boards/lines is found by ${text}`);
  } catch (error) {
    fail(where, String(error));
  }
}

function checkBoard(board: Board, entries: readonly Entry[]): number {
  let queries = 0;
  for (const panel of board.rows.flatMap((row) => row.panels)) {
    const where = `${board.name} / ${panel.title}`;
    if (panel.answers.length < 20) fail(where, 'does not say what it answers');
    for (const [expr] of panel.queries) {
      queries += 1;
      if (panel.loki) checkLogql(where, expr, entries);
      else checkPromql(where, expr);
    }
  }
  for (const { name, expr } of assemble(board).annotations?.list ?? []) {
    if (expr !== undefined) checkPromql(`${board.name} / annotation ${name}`, expr);
  }
  const titles = board.rows.flatMap((row) => row.panels.map((panel) => panel.title));
  if (new Set(titles).size < titles.length) fail(board.name, 'two panels have the same title');
  checkPlaces(board);
  return queries;
}

/** Panels lie inside of the grid and not over each other. */
function checkPlaces(board: Board): void {
  const taken = new Set<string>();
  for (const panel of assemble(board).panels ?? []) {
    const place = panel.gridPos;
    if (!place) continue;
    for (let x = place.x; x < place.x + place.w; x += 1) {
      for (let y = place.y; y < place.y + place.h; y += 1) {
        if (x >= 24 || taken.has(`${x},${y}`)) return fail(board.name, `${panel.title} has no room`);
        taken.add(`${x},${y}`);
      }
    }
  }
}

function checkRules(): number {
  const runbook = readFileSync(join(ROOT, 'docs/runbook.md'), 'utf8');
  const sections = new Set([...runbook.matchAll(/^##+ (WsGateway\w+)$/gm)].map((match) => match[1]));
  const seen = new Set<string>();
  const alerts = rules().filter((rule) => rule.alert !== undefined);
  for (const rule of rules()) checkPromql(rule.alert ?? rule.record ?? '', rule.expr, {});
  for (const { alert, labels, annotations } of alerts) {
    const where = alert ?? '';
    for (const name of ['summary', 'description', 'runbook_url']) if (!annotations?.[name]) fail(where, `has no ${name}`);
    if (!['critical', 'warning', 'info'].includes(labels?.['severity'] ?? '')) fail(where, 'has no severity');
    if (!annotations?.['runbook_url']?.endsWith(`#${where.toLowerCase()}`)) fail(where, 'leads to another section');
    if (!sections.has(where)) fail(where, 'has no section in docs/runbook.md');
    seen.add(where);
  }
  for (const section of sections) if (!seen.has(section ?? '')) fail('docs/runbook.md', `${section} is no alert`);
  return rules().length;
}

const entries = lines();
const queries = BOARDS.reduce((sum, board) => sum + checkBoard(board, entries), 0);
const count = checkRules();
if (problems.length > 0) {
  console.error(problems.map((problem) => `boards: ${problem}`).join('\n'));
  process.exit(1);
}
console.log(`boards: ${queries} queries and ${count} rules parse, and name what is in docs/metrics.json and in real logs`);
