/** Rules for Prometheus and promtool, from a PrometheusRule on standard input: `render.ts [FACTOR]` divides all durations. */
import { readFileSync } from 'node:fs';
import { parse, stringify } from 'yaml';
import type { Group } from './rules.ts';

const factor = Number(process.argv[2] ?? 1);
const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };
/** Shorter ones hold too few samples of a scrape a second. */
const SHORTEST = 5;

function shorter(duration: string): string {
  const seconds = (UNITS[duration.slice(-1)] ?? 1) * Number(duration.slice(0, -1));
  return `${Math.max(SHORTEST, Math.round(seconds / factor))}s`;
}

const { spec } = parse(readFileSync(0, 'utf8')) as { spec: { groups: Group[] } };
const groups = spec.groups.map((group) => ({
  ...group,
  interval: factor === 1 ? group.interval : '1s',
  rules: group.rules.map((rule) => {
    const shortened = { ...rule, expr: rule.expr.replace(/\[(\d+[smhd])\]/g, (_, time: string) => `[${shorter(time)}]`) };
    return rule.for === undefined ? shortened : { ...shortened, for: shorter(rule.for) };
  }),
}));
const result = { groups: factor === 1 ? spec.groups : groups };
process.stdout.write(process.argv.includes('--json') ? JSON.stringify(result) : stringify(result));
