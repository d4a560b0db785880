/** Faults, each with the alerts that it has to fire. */
import type { Crowd, Publisher } from './crowd.ts';
import { deaf } from './crowd.ts';
import { expiring, gatewayPods, kubectl, limitFiles, limitMemory, NAMESPACE, nudge, operatorPods, signal, starve, SYSTEM } from './host.ts';
import type { Prometheus } from './prometheus.ts';

export interface World {
  readonly prometheus: Prometheus;
  readonly publisher: Publisher;
  readonly odin: Crowd;
  readonly thor: Crowd;
  readonly odinUrl: string;
}

export interface Fault {
  readonly name: string;
  readonly fires: readonly string[];
  /** Seconds within which they fire. */
  readonly within: number;
  /** Causes it; returns what ends it. */
  cause(world: World): Promise<() => unknown>;
}

const BOTH = (alert: string) => [`${alert} (critical)`, `${alert} (warning)`];
const ns = (...args: string[]) => kubectl('-n', NAMESPACE, ...args);
const patch = (gateway: string, spec: unknown) =>
  ns('patch', 'wsgw', gateway, '--type=merge', '-p', JSON.stringify({ spec }));
const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));

async function first(gateway: string) {
  const [pod] = await gatewayPods(gateway);
  if (!pod) throw new Error(`no pod of ${gateway}`);
  return pod;
}

/** Again and again until the fault is over. */
function repeat(seconds: number, action: () => unknown): () => void {
  const timer = setInterval(() => void Promise.resolve(action()).catch(() => undefined), seconds * 1_000);
  return () => clearInterval(timer);
}

const ALWAYS = 120;

export const FAULTS: readonly Fault[] = [
  {
    name: 'more clients come than the pods admit, and the autoscaler is at its maximum',
    fires: ['WsGatewayPodsFull (warning)', 'WsGatewayAtMaximum (warning)', ...BOTH('WsGatewayRefusesClients')],
    within: 150,
    async cause({ odin }) {
      odin.size(400);
      return () => odin.size(ALWAYS);
    },
  },
  {
    name: 'a rollout of a WsGateway whose stream keeps five messages',
    fires: ['WsGatewayRolloutHalted (warning)', ...BOTH('WsGatewayLosesMessages')],
    within: 120,
    async cause({ thor }) {
      await patch('thor', { pod: { annotations: { 'example.com/rollout': String(Date.now()) } } });
      // Clients of this stream miss messages whenever they are away: half of them are, now and then.
      const stop = repeat(6, () => {
        for (const client of thor.clients.slice(0, 30)) {
          client.close();
          setTimeout(() => client.connect(), 2_000);
        }
      });
      return async () => {
        stop();
        await ns('annotate', 'wsgw', 'thor', `wsgateway.dev/continue=${Date.now()}`, '--overwrite');
      };
    },
  },
  {
    name: 'publishers send more than rateLimits.streamMessages lets a pod take',
    fires: ['WsGatewaySourceLags (warning)', 'WsGatewaySourceLosesMessages (critical)'],
    within: 120,
    async cause({ publisher }) {
      await patch('odin', { rateLimits: { streamMessages: { perSecond: 500 } } });
      publisher.set('odin.burst.*', 2_500, 60);
      return async () => {
        publisher.set('odin.burst.*', 0);
        await patch('odin', { rateLimits: { streamMessages: null } });
      };
    },
  },
  {
    name: 'pods get a twelfth of the CPU time while publishers send thousands of messages a second',
    fires: ['WsGatewaySlowDelivery (warning)'],
    within: 120,
    async cause({ publisher }) {
      const stops = (await gatewayPods('odin')).map(({ uid }) => starve(uid));
      publisher.set('odin.burst.*', 25_000, 60);
      return () => {
        publisher.set('odin.burst.*', 0);
        for (const stop of stops) stop();
      };
    },
  },
  {
    name: 'clients that read nothing, of a channel with large messages',
    fires: ['WsGatewaySlowClients (warning)'],
    within: 120,
    async cause({ publisher, odinUrl }) {
      publisher.set('odin.large.book', 60, 60_000);
      let stop = deaf(odinUrl, 30, 'large.book');
      const again = repeat(12, () => {
        stop();
        stop = deaf(odinUrl, 30, 'large.book');
      });
      return () => {
        again();
        stop();
        publisher.set('odin.large.book', 0);
      };
    },
  },
  {
    name: 'a pod may open hardly more files than it has',
    fires: ['WsGatewayDescriptorsNearLimit (warning)'],
    within: 60,
    async cause() {
      const pod = await first('odin');
      return await limitFiles(pod.uid, 3);
    },
  },
  {
    name: 'no node takes the pod that is wanted',
    fires: ['WsGatewayPodsMissing (warning)'],
    within: 90,
    async cause() {
      const nodes = (await kubectl('get', 'nodes', '-o', 'name')).trim().split('\n');
      for (const node of nodes) await kubectl('cordon', node);
      await patch('thor', { replicas: 3 });
      return async () => {
        for (const node of nodes) await kubectl('uncordon', node);
        await patch('thor', { replicas: 2 });
      };
    },
  },
  {
    name: 'nobody monitors a WsGateway: monitoring.serviceMonitor is Never',
    fires: ['WsGatewayMetricsMissing (warning)'],
    within: 240,
    async cause({ prometheus }) {
      await patch('thor', { monitoring: { serviceMonitor: 'Never' } });
      const stop = repeat(3, nudge);
      return async () => {
        await patch('thor', { monitoring: { serviceMonitor: 'Auto' } });
        // Later faults are of its pods. The targets of before may still be there.
        await sleep(2_000);
        const scraped = async () => {
          const targets = await prometheus.targets();
          return targets.filter(({ health, scrapePool }) => health === 'up' && scrapePool.includes('/thor-gateway/')).length >= 2;
        };
        // Targets that nobody has scraped yet are of unknown health.
        for (const end = Date.now() + 300_000; !(await scraped()); await sleep(1_000)) {
          if (Date.now() > end) throw new Error('the pods of thor are not scraped again');
        }
        stop();
      };
    },
  },
  {
    name: 'a memory limit that is hardly more than a pod uses',
    fires: ['WsGatewayMemoryNearLimit (warning)', 'WsGatewayOverloaded (warning)'],
    within: 120,
    async cause() {
      return limitMemory((await first('thor')).uid);
    },
  },
  {
    name: 'an issuer of keys that cannot be reached',
    fires: ['WsGatewayKeysUnreadable (warning)'],
    within: 120,
    async cause() {
      const jwt = { jwks: { url: 'http://127.0.0.1:1/keys' }, algorithms: ['EdDSA'] };
      await patch('thor', { auth: { jwt, anonymous: { channels: ['>'] } } });
      return () => patch('thor', { auth: null });
    },
  },
  {
    name: 'the operator may not write any more',
    fires: ['WsGatewayReconcileFails (warning)'],
    within: 120,
    async cause() {
      const [role] = (await kubectl('get', 'clusterrolebinding', '-o', 'name')).split('\n').filter((name) => name.endsWith('wsgateway-operator'));
      if (!role) throw new Error('no ClusterRoleBinding of the operator');
      const text = await kubectl('get', role, '-o', 'json');
      await kubectl('delete', role);
      // Each change is one that it would have to write.
      const stop = repeat(2, () => patch('thor', { monitoring: { labels: { touched: String(Date.now()) } } }));
      return async () => {
        stop();
        await applied(text);
      };
    },
  },
  {
    name: 'a certificate of the operator that ends in five days and cannot be renewed',
    fires: ['WsGatewayCertificateExpires (warning)'],
    within: 120,
    async cause() {
      const name = 'wsgateway-operator-metrics-api';
      const again = () => kubectl('-n', SYSTEM, 'delete', 'secret', name, '--ignore-not-found');
      const { key, certificate } = await expiring(`${name}.${SYSTEM}.svc`, 5);
      await again();
      await applied(
        JSON.stringify({
          apiVersion: 'v1',
          kind: 'Secret',
          type: 'kubernetes.io/tls',
          metadata: { name, namespace: SYSTEM },
          immutable: true,
          stringData: { 'tls.crt': certificate, 'tls.key': key, 'ca.crt': certificate },
        }),
      );
      return again;
    },
  },
  {
    name: 'an operator that does not answer (stopped)',
    fires: ['WsGatewayOperatorDown (warning)'],
    within: 60,
    async cause() {
      const [pod] = await operatorPods();
      if (!pod) throw new Error('no operator');
      signal(pod.uid, 'SIGSTOP');
      return () => {
        try {
          signal(pod.uid, 'SIGCONT');
        } catch {
          // The kubelet has replaced it.
        }
      };
    },
  },
  {
    name: 'no operator, and somebody writes nonsense into the configuration of the pods',
    fires: ['WsGatewayOperatorNoLeader (critical)', 'WsGatewayConfigRefused (warning)'],
    within: 150,
    async cause() {
      const [name] = (await kubectl('-n', SYSTEM, 'get', 'deployment', '-l', 'app.kubernetes.io/component=operator', '-o', 'name')).split('\n');
      await kubectl('-n', SYSTEM, 'scale', name as string, '--replicas=0');
      await sleep(3_000);
      const map = JSON.parse(await ns('get', 'configmap', 'odin-live', '-o', 'json')) as { data: Record<string, string> };
      const data = Object.fromEntries(Object.keys(map.data).map((key) => [key, 'capacity: nonsense\n']));
      await ns('patch', 'configmap', 'odin-live', '--type=merge', '-p', JSON.stringify({ data }));
      // A change of the pod makes the kubelet look at what is mounted.
      const stop = repeat(3, async () => {
        for (const { name: pod } of await gatewayPods('odin')) await ns('annotate', 'pod', pod, `example.com/touched=${Date.now()}`, '--overwrite');
      });
      return async () => {
        stop();
        await kubectl('-n', SYSTEM, 'scale', name as string, '--replicas=2');
      };
    },
  },
  {
    name: 'NATS is stopped',
    fires: ['WsGatewaySourceAway (warning)', 'WsGatewayNoPodServes (critical)', 'WsGatewayNotReady (warning)', ...BOTH('WsGatewayUnavailable')],
    within: 150,
    async cause() {
      await ns('scale', 'deployment/nats', '--replicas=0');
      return async () => {
        await ns('scale', 'deployment/nats', '--replicas=1');
        await ns('rollout', 'status', 'deployment/nats', '--timeout=60s');
      };
    },
  },
  {
    name: 'a gateway is killed',
    fires: [],
    within: 10,
    async cause() {
      signal((await first('odin')).uid, 'SIGKILL');
      return () => undefined;
    },
  },
];

/** Creates an object again that was deleted. */
async function applied(text: string): Promise<void> {
  const object = JSON.parse(text) as { metadata: Record<string, unknown> };
  for (const field of ['uid', 'resourceVersion', 'creationTimestamp']) delete object.metadata[field];
  const { spawn } = await import('node:child_process');
  const child = spawn('kubectl', ['apply', '-f', '-'], { stdio: ['pipe', 'ignore', 'inherit'] });
  child.stdin.end(JSON.stringify(object));
  await new Promise((done) => child.on('close', done));
}
