/** All pods of the chosen WsGateways: what on-call opens first. */
import * as dashboard from '@grafana/grafana-foundation-sdk/dashboard';
import { type Board, CHOSEN, type Row, VARIABLES } from '../parts.ts';

const BY = 'namespace, gateway';
const EVERY = '[$__rate_interval]';

/** Refusals for which a client can do nothing, and no stopping pod either. */
const OURS = 'reason=~"full|source_not_ready|fallbacks_full|descriptors|overloaded"';

const now: Row = {
  title: 'Now',
  panels: [
    {
      title: 'Active connections',
      answers: 'How many clients are connected at this moment, over all transports?',
      kind: 'stat',
      queries: [[`sum(wsgateway_connections{${CHOSEN}})`, 'connections']],
      unit: 'short',
    },
    {
      title: 'Full',
      answers: 'How much of the admitted connections is in use? At 100 % new clients are refused.',
      kind: 'gauge',
      queries: [[`100 * sum(wsgateway_connections{${CHOSEN}}) / sum(wsgateway_connections_capacity{${CHOSEN}})`, 'full']],
      unit: 'percent',
      min: 0,
      max: 100,
      steps: [[null, 'green'], [75, 'yellow'], [90, 'red']],
    },
    {
      title: 'Pods that serve',
      answers: 'How many pods have a live source, so that clients get messages? Compare with the pods wanted, below.',
      kind: 'stat',
      queries: [[`count(wsgateway_source_state{${CHOSEN}, state="live"} == 1)`, 'pods']],
      nothing: '0',
      steps: [[null, 'red'], [1, 'green']],
    },
    {
      title: 'NATS',
      answers: 'Is every pod connected to NATS and reading its stream? "away" means that at least one pod is not.',
      kind: 'stat',
      queries: [[`min(wsgateway_source_state{${CHOSEN}, state="live"})`, 'NATS']],
      texts: { 0: ['away', 'red'], 1: ['live', 'green'] },
      nothing: 'no pod',
      steps: [[null, 'red'], [1, 'green']],
    },
    {
      title: 'Clients that missed messages',
      answers:
        'Are we losing anything? Clients that came back in the chosen time and were told of a gap. Anything but 0 wants a look at the retention of the stream.',
      kind: 'stat',
      queries: [[`sum(increase(wsgateway_resumes_total{${CHOSEN}, outcome="gap"}[$__range]))`, 'clients']],
      decimals: 0,
      steps: [[null, 'green'], [1, 'red']],
    },
    {
      title: 'Clients refused',
      answers: 'Were clients turned away for want of room, source, CPU, memory or descriptors in the chosen time?',
      kind: 'stat',
      queries: [[`sum(increase(wsgateway_upgrade_rejections_total{${CHOSEN}, ${OURS}}[$__range]))`, 'clients']],
      decimals: 0,
      steps: [[null, 'green'], [1, 'orange'], [100, 'red']],
    },
    {
      title: 'Alerts',
      answers: 'What has been reported already? The runbook has a section for each name.',
      kind: 'table',
      width: 24,
      height: 6,
      queries: [['sort_desc(sum by (alertname, severity, namespace, gateway, alertstate) (ALERTS{alertname=~"WsGateway.+"}))', '']],
      columns: { alertname: 'Alert', severity: 'Severity', alertstate: 'State', namespace: 'Namespace', gateway: 'Gateway' },
      nothing: 'No alert is pending or firing',
    },
  ],
};

const full: Row = {
  title: 'Who is full, and will we need more pods?',
  panels: [
    {
      title: 'Connections over time',
      answers: 'Does the crowd grow or leave? The dashed line is what the pods that there are admit.',
      kind: 'time',
      queries: [
        [`sum by (${BY}) (wsgateway_connections{${CHOSEN}})`, '{{namespace}}/{{gateway}}'],
        [`sum(wsgateway_connections_capacity{${CHOSEN}})`, 'capacity'],
      ],
    },
    {
      title: 'Connections now, and before',
      answers: 'Will we need more pods at nine? Compare with what came at this time before (the variable Compare).',
      kind: 'time',
      queries: [
        [`sum(wsgateway_connections{${CHOSEN}})`, 'now'],
        [`sum(wsgateway_connections{${CHOSEN}} offset $compare)`, '$compare before'],
      ],
    },
    {
      title: 'Pods: wanted and serving',
      answers: 'Has the autoscaler asked for more pods, and are they there? Wanted above serving for long means no node has room, or pods do not start; wanted at the most means that the autoscaler cannot add any.',
      kind: 'time',
      queries: [
        [`max by (${BY}) (wsgateway_operator_gateway_replicas_wanted{${CHOSEN}})`, '{{gateway}}: wanted'],
        [`max by (${BY}) (wsgateway_operator_gateway_replicas_serving{${CHOSEN}})`, '{{gateway}}: serving'],
        [`max by (${BY}) (wsgateway_operator_gateway_replicas_max{${CHOSEN}})`, '{{gateway}}: most'],
      ],
      decimals: 0,
    },
    {
      title: 'Pods needed in an hour',
      answers: 'How many pods take the connections that there are in an hour, if the last half hour goes on like this, at 80 % of their capacity? Compare with maxReplicas.',
      kind: 'time',
      queries: [
        [
          `ceil(clamp_min(predict_linear(sum by (${BY}) (wsgateway_connections{${CHOSEN}})[30m:1m], 3600), 1) / (0.8 * avg by (${BY}) (wsgateway_connections_capacity{${CHOSEN}})))`,
          '{{gateway}}: needed',
        ],
        [`count by (${BY}) (wsgateway_connections{${CHOSEN}})`, '{{gateway}}: there'],
      ],
      decimals: 0,
    },
    {
      title: 'Fullest pods',
      answers: 'Who is full? Pods by the share of their capacity. One that stands out gets clients from a load balancer that does not spread.',
      kind: 'bars',
      queries: [[`topk(12, 100 * wsgateway_connections{${CHOSEN}} / wsgateway_connections_capacity{${CHOSEN}})`, '{{pod}}']],
      unit: 'percent',
      min: 0,
      max: 100,
      steps: [[null, 'green'], [75, 'yellow'], [90, 'red']],
    },
    {
      title: 'New and ended connections',
      answers: 'Does a crowd come in or leave at once? A reconnect storm shows as both.',
      kind: 'time',
      queries: [
        [`sum(rate(wsgateway_connections_accepted_total{${CHOSEN}}${EVERY}))`, 'new'],
        [`sum(rate(wsgateway_disconnects_total{${CHOSEN}}${EVERY}))`, 'ended'],
      ],
      unit: 'cps',
    },
  ],
};

const losing: Row = {
  title: 'Are we losing anything?',
  panels: [
    {
      title: 'Message rate',
      answers: 'Do messages come from NATS, and go to clients? Deliveries are receivers times messages.',
      kind: 'time',
      queries: [
        [`max by (${BY}) (rate(wsgateway_source_messages_total{${CHOSEN}}${EVERY}))`, '{{gateway}}: from NATS'],
        [`sum by (${BY}) (rate(wsgateway_deliveries_total{${CHOSEN}}${EVERY}))`, '{{gateway}}: to clients'],
      ],
      unit: 'mps',
    },
    {
      title: 'Bandwidth',
      answers: 'How much is sent to clients, by WsGateway?',
      kind: 'time',
      queries: [[`8 * sum by (${BY}) (rate(wsgateway_delivered_bytes_total{${CHOSEN}}${EVERY}))`, '{{namespace}}/{{gateway}}']],
      unit: 'bps',
    },
    {
      title: 'Reliability',
      answers: 'Do clients that come back get everything? Recovered is the promise kept; gap is messages missed; failed lookups make a client try again.',
      kind: 'time',
      queries: [
        [`sum by (outcome) (increase(wsgateway_resumes_total{${CHOSEN}}${EVERY}))`, 'resumed: {{outcome}}'],
        [`sum(increase(wsgateway_lookups_failed_total{${CHOSEN}}${EVERY}))`, 'lookups failed'],
        [`sum(increase(wsgateway_source_lost_total{${CHOSEN}}${EVERY}))`, 'messages lost before they were read'],
        [`sum(increase(wsgateway_disconnects_total{${CHOSEN}, code="4008"}${EVERY}))`, 'slow clients disconnected'],
      ],
    },
    {
      title: 'Clients that resumed without a gap',
      answers: 'Is the promise of docs/slo.md kept? The share in the chosen time; the objective is 99.9 %.',
      kind: 'stat',
      width: 6,
      height: 8,
      queries: [
        [
          `100 * sum(increase(wsgateway_resumes_total{${CHOSEN}, outcome="recovered"}[$__range])) / (sum(increase(wsgateway_resumes_total{${CHOSEN}}[$__range])) > 0)`,
          'recovered',
        ],
      ],
      unit: 'percent',
      decimals: 2,
      nothing: 'nobody resumed',
      steps: [[null, 'red'], [99.9, 'green']],
    },
    {
      title: 'Upgrades that were answered',
      answers: 'Is the promise of docs/slo.md kept? The share of clients that were admitted; those that did something wrong or met a stopping pod do not count.',
      kind: 'stat',
      width: 6,
      height: 8,
      queries: [
        [
          `100 * sum(increase(wsgateway_connections_accepted_total{${CHOSEN}}[$__range])) / (sum(increase(wsgateway_connections_accepted_total{${CHOSEN}}[$__range])) + sum(increase(wsgateway_upgrade_rejections_total{${CHOSEN}, ${OURS}}[$__range])) > 0)`,
          'admitted',
        ],
      ],
      unit: 'percent',
      decimals: 2,
      nothing: 'nobody came',
      steps: [[null, 'red'], [99.9, 'green']],
    },
    {
      title: 'Refused, by reason',
      answers: 'Why were clients turned away? full: more pods; source_not_ready: NATS; descriptors: the limit of open files; overloaded: CPU or memory; draining: a pod that stops, they go elsewhere.',
      kind: 'time',
      stacked: true,
      queries: [[`sum by (reason) (rate(wsgateway_upgrade_rejections_total{${CHOSEN}}${EVERY}))`, '{{reason}}']],
      unit: 'reqps',
    },
    {
      title: 'Ended connections, by close code',
      answers: 'Why did connections end? 1012: moved by us, 1006: no close frame (network, or a killed pod), 4008: too slow, 1008 and 1002: a faulty client.',
      kind: 'time',
      stacked: true,
      queries: [[`sum by (code) (rate(wsgateway_disconnects_total{${CHOSEN}}${EVERY})) > 0`, '{{code}}']],
      unit: 'cps',
      nothing: 'No connection ended',
    },
  ],
};

const slow: Row = {
  title: 'Who is slow?',
  panels: [
    {
      title: 'Stored to written',
      answers: 'How old is a message when it has been written to the last client of a shard? Of all pods; 50, 99 and 99.9 of 100 messages.',
      kind: 'time',
      queries: [0.5, 0.99, 0.999].map((q) => [
        `histogram_quantile(${q}, sum by (le) (rate(wsgateway_delivery_latency_seconds_bucket{${CHOSEN}}${EVERY})))`,
        `p${100 * q}`,
      ] as const),
      unit: 's',
      steps: [[null, 'green'], [1, 'red']],
    },
    {
      title: 'Slowest pods',
      answers: 'Which pod delivers late? One alone: its node, or its clients. All: NATS, or too much for the CPUs.',
      kind: 'time',
      queries: [
        [
          `topk(5, histogram_quantile(0.99, sum by (pod, le) (rate(wsgateway_delivery_latency_seconds_bucket{${CHOSEN}}${EVERY}))))`,
          '{{pod}}',
        ],
      ],
      unit: 's',
    },
    {
      title: 'Slow clients',
      answers: 'How many clients cannot take what they are sent, and how many were disconnected for it or got only the newest message?',
      kind: 'time',
      queries: [
        [`sum(wsgateway_outboxes{${CHOSEN}})`, 'slow now'],
        [`sum(increase(wsgateway_disconnects_total{${CHOSEN}, code="4008"}${EVERY}))`, 'disconnected (4008)'],
        [`sum(rate(wsgateway_conflated_total{${CHOSEN}}${EVERY}))`, 'messages left out for them, a second'],
      ],
    },
    {
      title: 'Waiting for slow clients',
      answers: 'How much memory is held for slow clients, by pod? It is bounded: the slowest are disconnected first.',
      kind: 'time',
      queries: [[`topk(8, wsgateway_outbox_memory_bytes{${CHOSEN}})`, '{{pod}}']],
      unit: 'bytes',
    },
  ],
};

const moved: Row = {
  title: 'What did the last rollout cost?',
  panels: [
    {
      title: 'Clients moved, and what became of them',
      answers: 'Did those who were moved come back with all their messages? By why they were moved, in the chosen time.',
      kind: 'table',
      queries: [[`sum by (namespace, gateway, kind, outcome) (increase(wsgateway_operator_disruption_clients_total{${CHOSEN}}[$__range])) > 0`, '']],
      columns: { namespace: 'Namespace', gateway: 'Gateway', kind: 'Why', outcome: 'Outcome', Value: 'Clients' },
      decimals: 0,
      nothing: 'Nobody was moved',
    },
    {
      title: 'Time without messages, 99 of 100 clients',
      answers: 'For how long were clients that were moved without messages, the last time? Two seconds is the promise.',
      kind: 'time',
      queries: [[`max by (gateway, kind) (wsgateway_operator_disruption_away_p99_seconds{${CHOSEN}})`, '{{gateway}}: {{kind}}']],
      unit: 's',
      steps: [[null, 'green'], [2, 'red']],
      nothing: 'Nobody was moved',
    },
    {
      title: 'Clients sent elsewhere',
      answers: 'Is somebody being moved at this moment, and as fast as disruption.connectionsPerMinute allows?',
      kind: 'time',
      queries: [
        [`60 * sum by (${BY}) (rate(wsgateway_sent_away_total{${CHOSEN}}${EVERY}))`, '{{gateway}}: a minute'],
        [`sum by (gateway, plan) (wsgateway_operator_gateway_plan_clients_left{${CHOSEN}})`, '{{gateway}}: still to go ({{plan}})'],
      ],
    },
    {
      title: 'Halted',
      answers: 'Was a rollout, a scale-down or a rebalancing halted because clients missed messages? See the runbook: WsGatewayRolloutHalted.',
      kind: 'states',
      queries: [[`max by (${BY}) (wsgateway_operator_disruption_halted{${CHOSEN}})`, '{{namespace}}/{{gateway}}']],
      texts: { 0: ['no', 'green'], 1: ['halted', 'red'] },
      nothing: 'Nothing was halted',
    },
    {
      title: 'Versions that run',
      answers: 'Which builds are there, on how many pods? Two at once: a rollout is under way.',
      kind: 'time',
      stacked: true,
      queries: [[`count by (version, revision) (wsgateway_build_info{${CHOSEN}})`, '{{version}} {{revision}}']],
      decimals: 0,
    },
    {
      title: 'Time away of clients that came back',
      answers: 'How long had clients missed messages when they came back? Of 50 and 99 of 100; a tail is clients that sleep.',
      kind: 'time',
      queries: [0.5, 0.99].map((q) => [
        `histogram_quantile(${q}, sum by (le) (rate(wsgateway_resume_away_seconds_bucket{${CHOSEN}}${EVERY})))`,
        `p${100 * q}`,
      ] as const),
      unit: 's',
      nothing: 'Nobody came back',
    },
  ],
};

const resources: Row = {
  title: 'Resources',
  panels: [
    {
      title: 'CPU usage',
      answers: 'Which pods are short of CPU? In percent of what the container may use; the gateway refuses new clients at its guard.',
      kind: 'time',
      queries: [
        [`100 * rate(process_cpu_seconds_total{${CHOSEN}}${EVERY}) / on (namespace, gateway, pod) wsgateway_cpu_limit_cores{${CHOSEN}}`, '{{pod}}'],
      ],
      unit: 'percent',
      steps: [[null, 'green'], [75, 'yellow'], [90, 'red']],
    },
    {
      title: 'Memory usage',
      answers: 'Which pods come near their memory limit, at which they are killed? In percent of it.',
      kind: 'time',
      queries: [
        [`100 * wsgateway_memory_used_bytes{${CHOSEN}} / wsgateway_memory_limit_bytes{${CHOSEN}}`, '{{pod}}'],
      ],
      unit: 'percent',
      steps: [[null, 'green'], [80, 'yellow'], [90, 'red']],
    },
    {
      title: 'Threads',
      answers: 'Does a pod start threads without end? The number is fixed after the start: shards and a handful.',
      kind: 'time',
      queries: [[`process_threads{${CHOSEN}}`, '{{pod}}']],
      decimals: 0,
    },
    {
      title: 'File descriptors',
      answers: 'Which pods come near their limit of open files, at which nobody can connect? In percent of it.',
      kind: 'time',
      queries: [[`100 * process_open_fds{${CHOSEN}} / process_max_fds{${CHOSEN}}`, '{{pod}}']],
      unit: 'percent',
      steps: [[null, 'green'], [80, 'yellow'], [95, 'red']],
    },
  ],
};

const compare = new dashboard.CustomVariableBuilder('compare')
  .label('Compare')
  .values('1d,7d,1h')
  .current({ text: '1d', value: '1d' });

export const fleet: Board = {
  name: 'fleet',
  title: 'wsgateway / Fleet',
  about: 'All pods of WsGateways: who is full, who is slow, are we losing anything, what did the last rollout cost.',
  variables: [VARIABLES.datasource, VARIABLES.namespace, VARIABLES.gateway, compare],
  rows: [now, full, losing, slow, moved, resources],
};
