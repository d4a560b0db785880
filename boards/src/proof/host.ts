/** What is done to the cluster and to processes of its pods, which run on this machine. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';

const run = promisify(execFile);

export const NAMESPACE = 'wsgateway-monitoring';
export const SYSTEM = 'wsgateway-system';

/** Runs kubectl; what it prints. */
export async function kubectl(...args: string[]): Promise<string> {
  const { stdout } = await run('kubectl', args, { maxBuffer: 1 << 26 });
  return stdout;
}

/** A change of the pod makes the kubelet look at what is mounted: the configuration of Prometheus. */
export async function nudge(): Promise<void> {
  await kubectl('-n', 'monitoring', 'annotate', 'pod', 'prometheus-proof-0', `example.com/touched=${Date.now()}`, '--overwrite');
}

export interface Pod {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly ip: string;
  readonly ready: boolean;
}

interface PodObject {
  metadata: { name: string; namespace: string; uid: string; deletionTimestamp?: string };
  spec: { containers: { name: string }[] };
  status: { podIP?: string; phase?: string; conditions?: { type: string; status: string }[] };
}

/** Pods by label that are not being deleted. */
export async function pods(namespace: string, selector: string): Promise<Pod[]> {
  const list = JSON.parse(await kubectl('-n', namespace, 'get', 'pods', '-l', selector, '-o', 'json')) as { items: PodObject[] };
  return list.items
    .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    .map(({ metadata, status }) => ({
      name: metadata.name,
      namespace: metadata.namespace,
      uid: metadata.uid,
      ip: status.podIP ?? '',
      ready: status.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false,
    }));
}

export const gatewayPods = (gateway: string) =>
  pods(NAMESPACE, `app.kubernetes.io/name=wsgateway,app.kubernetes.io/instance=${gateway}`);
export const operatorPods = () => pods(SYSTEM, 'app.kubernetes.io/component=operator');

/** The address of a Service. */
export async function service(namespace: string, name: string): Promise<string> {
  return (await kubectl('-n', namespace, 'get', 'service', name, '-o', 'jsonpath={.spec.clusterIP}')).trim();
}

/** The processes of a pod, but for the one that holds its namespaces, which has one thread. */
export function pidsOf(uid: string): number[] {
  const found: number[] = [];
  for (const entry of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const groups = readFileSync(`/proc/${entry}/cgroup`, 'utf8');
      const threads = Number(/^Threads:\s+(\d+)$/m.exec(readFileSync(`/proc/${entry}/status`, 'utf8'))?.[1]);
      const ours = groups.includes(uid) || groups.includes(uid.replaceAll('-', '_'));
      if (ours && threads > 1) found.push(Number(entry));
    } catch {
      // It ended while it was looked at.
    }
  }
  if (found.length === 0) throw new Error(`the processes of pod ${uid} are not on this machine`);
  return found;
}

export function signal(uid: string, name: NodeJS.Signals): void {
  for (const pid of pidsOf(uid)) process.kill(pid, name);
}

/** Sets the limit of open files of a pod's processes to some more than are open. Returns what gives the old one back. */
export async function limitFiles(pod: string, spare: number): Promise<() => Promise<void>> {
  const changed: (() => Promise<unknown>)[] = [];
  for (const pid of pidsOf(pod)) {
    const open = readdirSync(`/proc/${pid}/fd`).length;
    const before = /Max open files\s+(\d+)\s+(\d+)/.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'));
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const [uid, gid] = ['Uid', 'Gid'].map((name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]));
    if (!before) throw new Error('no limit of open files');
    // As its user, who may do this without any capability.
    const set = (soft: number | string) =>
      run('prlimit', ['--pid', String(pid), `--nofile=${soft}:${before[2]}`], { uid: uid as number, gid: gid as number });
    await set(open + spare);
    changed.push(() => set(before[1] as string).catch(() => undefined));
  }
  return async () => {
    for (const back of changed) await back();
  };
}

/**
 * Sets the memory limit of a pod's container to hardly more than counts against it, now and as that changes. Returns what gives
 * the old one back.
 */
export function limitMemory(uid: string): () => void {
  const [pid] = pidsOf(uid);
  const groups = readFileSync(`/proc/${pid}/cgroup`, 'utf8');
  const first = /^\d+:memory:(.+)$/m.exec(groups);
  const second = /^0::(.+)$/m.exec(groups);
  const [folder, limit, usage, files] = first
    ? [`/sys/fs/cgroup/memory${first[1]}`, 'memory.limit_in_bytes', 'memory.usage_in_bytes', 'total_inactive_file']
    : [`/sys/fs/cgroup${second?.[1]}`, 'memory.max', 'memory.current', 'inactive_file'];
  const file = `${folder}/${limit}`;
  if (!existsSync(file)) throw new Error(`no ${file}`);
  const before = readFileSync(file, 'utf8').trim();
  const set = () => {
    const droppable = new RegExp(`^${files} (\\d+)$`, 'm').exec(readFileSync(`${folder}/memory.stat`, 'utf8'))?.[1];
    const used = Number(readFileSync(`${folder}/${usage}`, 'utf8')) - Number(droppable);
    writeFileSync(file, String(Math.round(used / 0.93)));
  };
  set();
  const timer = setInterval(() => {
    try {
      set();
    } catch {
      // It uses more than that at this moment, or has ended.
    }
  }, 500);
  return () => {
    clearInterval(timer);
    writeFileSync(file, before);
  };
}

/**
 * Lets the processes of a pod run a twelfth of the time, until the returned function is called. Each pause is shorter than the
 * second that Prometheus waits for an answer: what it does not see does not fire.
 */
export function starve(uid: string): () => void {
  const timer = setInterval(() => {
    signal(uid, 'SIGSTOP');
    setTimeout(() => signal(uid, 'SIGCONT'), 550);
  }, 600);
  return () => {
    clearInterval(timer);
    setTimeout(() => signal(uid, 'SIGCONT'), 600);
  };
}

/** A key, and a certificate of it that signs itself for a host and so many days. */
export async function expiring(host: string, days: number): Promise<{ key: string; certificate: string }> {
  const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', String(days)];
  const { stdout } = await run('openssl', [...args, '-subj', `/CN=${host.slice(0, 64)}`, '-addext', `subjectAltName=DNS:${host}`, '-keyout', '-']);
  const part = (label: string) => new RegExp(`-----BEGIN ${label}-----[^]+?-----END ${label}-----\\n`).exec(stdout)?.[0] ?? '';
  return { key: part('PRIVATE KEY'), certificate: part('CERTIFICATE') };
}

export interface Logged {
  readonly labels: Readonly<Record<string, string>>;
  readonly line: string;
}

/** Follows the logs of all pods of some namespaces, those that come later, too. */
export class Logs {
  readonly entries: Logged[] = [];
  readonly #followed = new Set<string>();
  readonly #children: ChildProcess[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(readonly namespaces: readonly string[]) {}

  start(): void {
    this.#timer = setInterval(() => void this.#look().catch(() => undefined), 2_000);
  }

  stop(): void {
    clearInterval(this.#timer);
    for (const child of this.#children) child.kill();
  }

  async #look(): Promise<void> {
    for (const namespace of this.namespaces) {
      const list = JSON.parse(await kubectl('-n', namespace, 'get', 'pods', '-o', 'json')) as { items: PodObject[] };
      for (const { metadata, spec, status } of list.items) {
        if (status.phase !== 'Running' || this.#followed.has(metadata.uid)) continue;
        this.#followed.add(metadata.uid);
        for (const { name } of spec.containers) this.#follow(namespace, metadata.name, name);
      }
    }
  }

  #follow(namespace: string, pod: string, container: string): void {
    const child = spawn('kubectl', ['-n', namespace, 'logs', '-f', pod, '-c', container], { stdio: ['ignore', 'pipe', 'ignore'] });
    this.#children.push(child);
    let rest = '';
    child.stdout.on('data', (data: Buffer) => {
      const lines = (rest + data.toString()).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.add({ namespace, pod, container }, line);
    });
  }

  add(labels: Readonly<Record<string, string>>, line: string): void {
    if (this.entries.length < 200_000) this.entries.push({ labels, line });
  }
}
