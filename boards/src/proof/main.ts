/**
 * What hack/monitoring runs in the network of a cluster: ServiceMonitors are found, targets are up, every rule is evaluated;
 * then one fault after the other, until each alert has fired; then every query of every board, over all of that time.
 *
 *   main.ts OUT [--only PATTERN]     OUT is the file for the results, which hack/boards draw reads
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { BOARDS, ROOT } from '../all.ts';
import { filled } from '../query.ts';
import { rules } from '../rules.ts';
import { Crowd, Publisher } from './crowd.ts';
import { FAULTS, type Fault, type World } from './faults.ts';
import { kubectl, type Logged, Logs, NAMESPACE, nudge, operatorPods, gatewayPods, service, SYSTEM } from './host.ts';
import { Prometheus, type Series } from './prometheus.ts';
import { type Fired, missing, status } from './verdict.ts';

/** All durations of rules are divided by this. */
const FACTOR = 30;
const STEP = 2;

export interface Results {
  readonly factor: number;
  readonly start: number;
  readonly end: number;
  readonly fired: readonly Fired[];
  readonly never: readonly string[];
  readonly faults: readonly { name: string; at: number }[];
  /** By board, title of the panel and number of the query. */
  readonly panels: Readonly<Record<string, Readonly<Record<string, readonly (readonly Series[])[]>>>>;
  readonly logs: readonly Logged[];
}

const say = (text: string) => console.log(`monitoring: ${text}`);
const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));
const now = () => Date.now() / 1_000;

async function until(what: string, seconds: number, test: () => Promise<boolean>): Promise<void> {
  const end = now() + seconds;
  let last = '';
  while (now() < end) {
    try {
      if (await test()) return;
    } catch (error) {
      last = String(error);
    }
    await sleep(500);
  }
  throw new Error(`waited ${seconds} s in vain for ${what} ${last}`);
}

/** Durations of the chart's rules are shortened in the cluster; Prometheus gets them from its operator. */
async function shorten(): Promise<void> {
  const text = execFileSync(join(ROOT, 'hack/boards'), ['rules', String(FACTOR), '--json'], { maxBuffer: 1 << 24 }).toString();
  const [name] = (await kubectl('-n', SYSTEM, 'get', 'prometheusrule', '-o', 'name')).split('\n');
  await kubectl('-n', SYSTEM, 'patch', name as string, '--type=merge', '-p', JSON.stringify({ spec: JSON.parse(text) as unknown }));
}

async function ready(prometheus: Prometheus): Promise<void> {
  await until('targets of odin, thor and the operators', 180, async () => {
    await nudge();
    await sleep(2_000);
    const up = (await prometheus.targets()).filter(({ health }) => health === 'up');
    const of = (gateway: string) => up.filter(({ labels }) => (labels['gateway'] ?? labels['job']?.replace('-admin', '')) === gateway).length;
    return of('odin') >= 2 && of('thor') >= 2 && up.filter(({ scrapePool }) => scrapePool.includes(SYSTEM)).length >= 2;
  });
  for (const { labels, health, scrapePool } of await prometheus.targets()) say(`target ${health}: ${labels['pod']} by ${scrapePool}`);
  const wanted = rules().length;
  await until(`${wanted} rules that are evaluated`, 180, async () => {
    await nudge();
    await sleep(2_000);
    const found = (await prometheus.rules()).filter(({ health }) => health === 'ok');
    return found.length === wanted;
  });
  say(`${wanted} rules of the chart are evaluated without an error`);
  await shorten();
  await until('shortened rules', 180, async () => {
    await nudge();
    await sleep(2_000);
    const found = (await prometheus.rules()) as unknown as { query: string; health: string }[];
    return found.length === wanted && found.every(({ health }) => health === 'ok') && found.some(({ query }) => query.includes('[10s]'));
  });
}

/** Causes a fault, and waits for its alerts. */
async function run(fault: Fault, world: World, fired: Fired[]): Promise<void> {
  const before = await world.prometheus.firing();
  const begin = now();
  say(`--> ${fault.name}`);
  const end = await fault.cause(world);
  const missing = new Set(fault.fires);
  const seen = new Set(before);
  do {
    await sleep(1_000);
    for (const alert of await world.prometheus.firing()) {
      missing.delete(alert);
      if (seen.has(alert)) continue;
      seen.add(alert);
      const seconds = Math.round(now() - begin);
      say(`    ${alert} after ${seconds} s`);
      if (fault.fires.includes(alert)) fired.push({ alert, fault: fault.name, seconds });
    }
  } while (now() < begin + fault.within && (missing.size > 0 || fault.fires.length === 0));
  await end();
  for (const alert of missing) say(`    NOT FIRED: ${alert}`);
  await until('everybody to be well again', 120, async () => {
    const [odin, thor, operators] = await Promise.all([gatewayPods('odin'), gatewayPods('thor'), operatorPods()]);
    const all = [...odin, ...thor, ...operators];
    return odin.length >= 2 && thor.length >= 2 && operators.length === 2 && all.every((pod) => pod.ready);
  }).catch((error: unknown) => say(String(error)));
  await sleep(5_000);
}

/** The alerts of the fault are over, so that the next one cannot be mistaken for it. */
async function quiet(fault: Fault, prometheus: Prometheus): Promise<void> {
  await until('the alerts to end', 60, async () => {
    const firing = await prometheus.firing();
    return !fault.fires.some((alert) => alert.endsWith('(critical)') && firing.has(alert));
  }).catch(() => undefined);
}

async function panels(prometheus: Prometheus, start: number, end: number): Promise<Results['panels']> {
  const values = { __rate_interval: '10s', __range: `${Math.round(end - start)}s`, __interval: '5s', compare: '2m' };
  const found: Record<string, Record<string, Series[][]>> = {};
  for (const board of BOARDS) {
    const of: Record<string, Series[][]> = {};
    // That board is about one pod: the one that was there longest.
    const [longest] = await prometheus.instant(`topk(1, count_over_time(wsgateway_connections{gateway="odin"}[${values.__range}]))`, end);
    const chosen = board.name === 'pod' ? { ...values, pod: longest?.metric['pod'] ?? '.*' } : values;
    for (const panel of board.rows.flatMap((row) => row.panels)) {
      if (panel.loki) continue;
      of[panel.title] = [];
      for (const [expr] of panel.queries) of[panel.title]?.push(await prometheus.range(filled(expr, chosen), start, end, STEP));
    }
    found[board.name] = of;
  }
  return found;
}

/** Up to three lines of each message, for the checks of log queries. */
function sample(entries: readonly Logged[]): Logged[] {
  const kept = new Map<string, number>();
  return entries.filter(({ labels, line }) => {
    if (labels['container'] === 'prometheus' || labels['container'] === 'config-reloader') return false;
    const message = /"message":"([^"]*)"/.exec(line)?.[1] ?? line.replace(/[\d.:/]+/g, '').slice(0, 40);
    const key = `${labels['container']} ${message}`;
    const count = kept.get(key) ?? 0;
    kept.set(key, count + 1);
    return count < 3 && kept.size < 200;
  });
}

async function main(): Promise<number> {
  const [out = '', flag, word] = process.argv.slice(2);
  const cap = Number(process.env['WITHIN'] ?? Number.POSITIVE_INFINITY);
  const isPartial = flag === '--only';
  const faults = FAULTS.map((fault) => ({ ...fault, within: Math.min(cap, fault.within) })).filter(({ name }) => !isPartial || new RegExp(word ?? '').test(name));
  const start = now();
  const logs = new Logs([NAMESPACE, SYSTEM]);
  logs.start();
  const prometheus = new Prometheus(`http://${await service('monitoring', 'prometheus')}:9090`);
  const publisher = new Publisher(await service(NAMESPACE, 'nats'), (line) =>
    logs.add({ namespace: NAMESPACE, pod: 'publisher', container: 'publisher' }, line),
  );
  const odinUrl = `ws://${await service(NAMESPACE, 'odin')}:8080/ws`;
  const odin = new Crowd(odinUrl, ['token.>']);
  const thor = new Crowd(`ws://${await service(NAMESPACE, 'thor')}:8080/ws`, ['>']);
  const world: World = { prometheus, publisher, odin, thor, odinUrl };
  publisher.start();
  publisher.set('odin.token.*', 20);
  publisher.set('thor.token.*', 20);
  odin.size(120);
  thor.size(60);
  await ready(prometheus);
  await sleep(30_000);
  const fired: Fired[] = [];
  const at: { name: string; at: number }[] = [];
  let failed = 0;
  for (const fault of faults) {
    at.push({ name: fault.name, at: now() });
    try {
      await run(fault, world, fired);
    } catch (error) {
      failed += 1;
      say(`    FAILED: ${String(error)}`);
    }
    await quiet(fault, prometheus);
  }
  await sleep(15_000);
  const end = now();
  const wanted = rules().flatMap(({ alert, labels }) => (alert ? [`${alert} (${labels?.['severity']})`] : []));
  const never = missing(wanted, faults, isPartial, fired);
  const results: Results = { factor: FACTOR, start, end, fired, never, faults: at, panels: await panels(prometheus, start, end), logs: logs.entries };
  mkdirSync(dirname(out), { recursive: true });
  writeFileSync(out, JSON.stringify(results));
  writeFileSync(`${out}.lines.json`, `${JSON.stringify(sample(logs.entries), null, 1)}\n`);
  const bare = Object.entries(results.panels).flatMap(([board, of]) =>
    Object.entries(of).flatMap(([title, queries]) => queries.flatMap((series, index) => (series.length === 0 ? [`${board} / ${title} (query ${index + 1})`] : []))),
  );
  for (const panel of bare) say(`NO DATA: ${panel}`);
  for (const alert of never) say(`NEVER FIRED: ${alert}`);
  say(`${fired.length} alerts fired, ${never.length} did not; ${bare.length} queries of panels have no data; ${odin.count.messages} messages to ${odin.clients.length} clients`);
  publisher.stop();
  odin.size(0);
  thor.size(0);
  logs.stop();
  return status({ faults: faults.length, isPartial, never: never.length, failed, bare: bare.length });
}

process.exit(await main().catch((error: unknown) => {
  console.error(error);
  return 2;
}));
