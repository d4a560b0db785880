/** The recording and alerting rules of the chart, as Helm renders them with its defaults. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { ROOT } from './all.ts';
import { metricsOf } from './query.ts';

export interface Rule {
  readonly record?: string;
  readonly alert?: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface Group {
  readonly name: string;
  readonly interval?: string;
  readonly rules: readonly Rule[];
}

const CHART = join(ROOT, 'charts/wsgateway');

/** The file with its ${NAME} replaced by the values of the chart. */
function rendered(): string {
  const values = parse(readFileSync(join(CHART, 'values.yaml'), 'utf8')) as {
    prometheusRule: { runbookUrl: string; thresholds: Record<string, number> };
  };
  const { runbookUrl, thresholds } = values.prometheusRule;
  const known: Record<string, string | number> = { ...thresholds, runbook: runbookUrl };
  const text = readFileSync(join(CHART, 'files/alerts.yaml'), 'utf8').replace(/^#.*$/gm, '');
  return text.replace(/\$\{(\w+)\}/g, (all, name: string) => {
    if (known[name] === undefined) throw new Error(`${all} is no value of the chart`);
    return String(known[name]);
  });
}

/** All groups. */
export function groups(): readonly Group[] {
  return (parse(rendered()) as { groups: Group[] }).groups;
}

/** All rules. */
export function rules(): readonly Rule[] {
  return groups().flatMap((group) => group.rules);
}

/** Recorded series with the labels that they may have. */
export function recorded(): Map<string, readonly string[]> {
  const pairs = rules().flatMap(({ record, expr }) => (record ? [[record, metricsOf(expr).labels] as const] : []));
  return new Map(pairs);
}

