/** The operator itself. */
import { type Board, choice, type Row, VARIABLES } from '../parts.ts';

const EVERY = '[$__rate_interval]';
const IN = 'namespace=~"$namespace"';
// The ServiceMonitor keeps the namespace of a series that is about a WsGateway; these are about the operator.
const OPERATORS = 'pod=~"$operator"';

const now: Row = {
  title: 'Now',
  panels: [
    {
      title: 'Leader',
      answers: 'Does exactly one operator work? 0: nothing is reconciled. Two for longer than a lease: should not be.',
      kind: 'stat',
      queries: [[`sum(wsgateway_operator_leader{${OPERATORS}})`, 'leaders']],
      nothing: '0',
      steps: [[null, 'red'], [1, 'green'], [2, 'red']],
    },
    {
      title: 'Operators',
      answers: 'Is there another one to take over?',
      kind: 'stat',
      queries: [[`count(wsgateway_operator_leader{${OPERATORS}})`, 'operators']],
      nothing: '0',
      steps: [[null, 'red'], [1, 'yellow'], [2, 'green']],
    },
    {
      title: 'WsGateways',
      answers: 'How many WsGateways does it keep? From 1,000 on some have no series of their own.',
      kind: 'stat',
      queries: [[`max(wsgateway_operator_gateways{${OPERATORS}})`, 'WsGateways']],
    },
    {
      title: 'Not ready',
      answers: 'How many WsGateways do not have the condition Ready?',
      kind: 'stat',
      queries: [[`count(max by (namespace, gateway) (wsgateway_operator_gateway_condition{${IN}, condition="Ready"}) == 0) or vector(0)`, 'not ready']],
      steps: [[null, 'green'], [1, 'red']],
    },
    {
      title: 'Waiting',
      answers: 'How many WsGateways wait for their turn? Much for long: the API server or NATS is slow, or too few at once.',
      kind: 'stat',
      queries: [[`sum(wsgateway_operator_queue_depth{${OPERATORS}})`, 'waiting']],
      steps: [[null, 'green'], [50, 'yellow'], [500, 'red']],
    },
    {
      title: 'Errors',
      answers: 'How many reconciliations failed in the chosen time?',
      kind: 'stat',
      queries: [[`sum(increase(wsgateway_operator_reconciles_total{${OPERATORS}, outcome="error"}[$__range]))`, 'errors']],
      decimals: 0,
      steps: [[null, 'green'], [1, 'orange']],
    },
  ],
};

const reconciling: Row = {
  title: 'Reconciling',
  panels: [
    {
      title: 'Reconciliations',
      answers: 'Does the operator work, and does it succeed? not_ready: it waits for pods or NATS; error: see the errors.',
      kind: 'time',
      stacked: true,
      queries: [[`sum by (outcome) (rate(wsgateway_operator_reconciles_total{${OPERATORS}}${EVERY}))`, '{{outcome}}']],
      unit: 'ops',
    },
    {
      title: 'Time of a reconciliation',
      answers: 'Does a reconciliation take long? Of 50 and 99 of 100.',
      kind: 'time',
      queries: [0.5, 0.99].map((q) => [
        `histogram_quantile(${q}, sum by (le) (rate(wsgateway_operator_reconcile_duration_seconds_bucket{${OPERATORS}}${EVERY})))`,
        `p${100 * q}`,
      ] as const),
      unit: 's',
      steps: [[null, 'green'], [10, 'red']],
    },
    {
      title: 'Errors, by stage and reason',
      answers: 'What fails? stream: NATS; apply: the API server refuses an object; dereference: something that the manifest names is missing.',
      kind: 'time',
      queries: [[`sum by (stage, reason) (increase(wsgateway_operator_errors_total{${OPERATORS}}${EVERY})) > 0`, '{{stage}}: {{reason}}']],
      nothing: 'No errors',
    },
    {
      title: 'Running and waiting',
      answers: 'Is it busy? Running at --concurrency with some waiting means that it is at its end.',
      kind: 'time',
      queries: [
        [`sum(wsgateway_operator_reconciles_running{${OPERATORS}})`, 'running'],
        [`sum(wsgateway_operator_queue_depth{${OPERATORS}})`, 'waiting'],
      ],
      decimals: 0,
    },
    {
      title: 'Objects written',
      answers: 'What does the operator change? In steady state nothing: a constant rate is a quarrel with another writer.',
      kind: 'time',
      stacked: true,
      queries: [[`sum by (kind, action) (rate(wsgateway_operator_objects_total{${OPERATORS}}${EVERY})) > 0`, '{{kind}} {{action}}']],
      unit: 'wps',
      nothing: 'Nothing is written',
    },
    {
      title: 'Streams written',
      answers: 'Were streams created, changed or deleted?',
      kind: 'time',
      queries: [[`sum by (action) (increase(wsgateway_operator_streams_total{${OPERATORS}}${EVERY}))`, '{{action}}']],
      decimals: 0,
    },
  ],
};

const gateways: Row = {
  title: 'WsGateways',
  panels: [
    {
      title: 'Conditions that are not met',
      answers: 'Which WsGateways have a problem, and of what kind? kubectl describe wsgw says what to do.',
      kind: 'table',
      queries: [
        [
          `max by (namespace, gateway, condition) (wsgateway_operator_gateway_condition{${IN}, condition=~".*Ready"}) == 0 or max by (namespace, gateway, condition) (wsgateway_operator_gateway_condition{${IN}, condition="Degraded"}) == 1`,
          '',
        ],
      ],
      columns: { namespace: 'Namespace', gateway: 'Gateway', condition: 'Condition', Value: 'Status' },
      nothing: 'All conditions are met',
    },
    {
      title: 'Pods, by what they do',
      answers: 'What do the pods of all WsGateways do at this moment?',
      kind: 'time',
      stacked: true,
      queries: [[`sum by (state) (max by (namespace, gateway, state) (wsgateway_operator_gateway_pods{${IN}}))`, '{{state}}']],
      decimals: 0,
    },
    {
      title: 'Connections and capacity',
      answers: 'How full is each WsGateway, as the operator and its autoscaler see it?',
      kind: 'time',
      queries: [
        [
          `100 * max by (namespace, gateway) (wsgateway_operator_gateway_connections{${IN}}) / (max by (namespace, gateway) (wsgateway_operator_gateway_capacity{${IN}}) > 0)`,
          '{{namespace}}/{{gateway}}',
        ],
      ],
      unit: 'percent',
      steps: [[null, 'green'], [75, 'yellow'], [90, 'red']],
    },
    {
      title: 'What rollouts and moves wait for',
      answers: 'Why does a rollout or a move not go on? no_room: nodes are full; waits_for_turn: others go first; halted: clients missed messages.',
      kind: 'time',
      stacked: true,
      queries: [[`count by (plan, result) (max by (namespace, gateway, plan, result) (wsgateway_operator_gateway_plan{${IN}}) == 1)`, '{{plan}}: {{result}}']],
      decimals: 0,
    },
    {
      title: 'Times that clients were moved',
      answers: 'How often do pods hand over clients, and what for? Rebalancing again and again: tolerancePercent is too small.',
      kind: 'time',
      queries: [[`sum by (kind) (increase(wsgateway_operator_disruptions_total{${IN}}${EVERY}))`, '{{kind}}']],
      decimals: 0,
      nothing: 'Nobody was moved',
    },
    {
      title: 'Source lag, as the operator sees it',
      answers: 'Does it see the same lag as the pods report? Nothing here, and pods do not answer the operator: a network policy?',
      kind: 'time',
      queries: [[`max by (namespace, gateway) (wsgateway_operator_gateway_source_lag_messages{${IN}})`, '{{namespace}}/{{gateway}}']],
    },
  ],
};

const api: Row = {
  title: 'API server, and resources',
  panels: [
    {
      title: 'Requests to the API server',
      answers: 'How much does the operator ask of the API server?',
      kind: 'time',
      stacked: true,
      queries: [[`sum by (verb) (rate(wsgateway_operator_api_requests_total{${OPERATORS}}${EVERY}))`, '{{verb}}']],
      unit: 'reqps',
    },
    {
      title: 'Requests that were refused or failed',
      answers: 'What does the API server refuse? 403: rights; 409: another writer; 429: too much; error: no answer.',
      kind: 'time',
      queries: [[`sum by (code, verb, resource) (increase(wsgateway_operator_api_requests_total{${OPERATORS}, code!~"2..|101"}${EVERY})) > 0`, '{{code}} {{verb}} {{resource}}']],
      nothing: 'None',
    },
    {
      title: 'Time of a request',
      answers: 'Is the API server slow? The 99th of 100 requests, by verb.',
      kind: 'time',
      queries: [
        [`histogram_quantile(0.99, sum by (verb, le) (rate(wsgateway_operator_api_request_duration_seconds_bucket{${OPERATORS}}${EVERY})))`, '{{verb}}'],
      ],
      unit: 's',
    },
    {
      title: 'Watches that failed',
      answers: 'Do watches break off? Now and then is usual; steadily: rights, or an API server that is in trouble.',
      kind: 'time',
      queries: [[`sum by (kind) (increase(wsgateway_operator_watch_interruptions_total{${OPERATORS}}${EVERY}))`, '{{kind}}']],
      nothing: 'No watch failed',
    },
    {
      title: 'CPU usage',
      answers: 'How much CPU do the operators use?',
      kind: 'time',
      queries: [[`rate(process_cpu_seconds_total{${OPERATORS}}${EVERY}) and on (pod) wsgateway_operator_leader{${OPERATORS}}`, '{{pod}}']],
      decimals: 2,
    },
    {
      title: 'Memory usage',
      answers: 'Do the operators come near their memory limit (128 MiB in the chart)?',
      kind: 'time',
      queries: [[`process_resident_memory_bytes{${OPERATORS}} and on (pod) wsgateway_operator_leader{${OPERATORS}}`, '{{pod}}']],
      unit: 'bytes',
    },
    {
      title: 'Threads and descriptors',
      answers: 'Does it leak threads or connections?',
      kind: 'time',
      queries: [
        [`process_threads{${OPERATORS}} and on (pod) wsgateway_operator_leader{${OPERATORS}}`, '{{pod}}: threads'],
        [`process_open_fds{${OPERATORS}} and on (pod) wsgateway_operator_leader{${OPERATORS}}`, '{{pod}}: descriptors'],
      ],
    },
    {
      title: 'Certificates',
      answers: 'For how long is the certificate of the metrics for autoscalers valid? The operator renews its own 120 days before its end. See the runbook: WsGatewayCertificateExpires.',
      kind: 'time',
      queries: [[`min by (pod, certificate) (wsgateway_operator_certificate_expiry_timestamp_seconds{${OPERATORS}}) - time()`, '{{pod}}: {{certificate}}']],
      unit: 's',
      min: 0,
      steps: [[null, 'red'], [14 * 86_400, 'green']],
      nothing: 'No certificate is served',
    },
    {
      title: 'Leader over time',
      answers: 'Did the lead change, and was there a time without a leader?',
      kind: 'states',
      queries: [[`wsgateway_operator_leader{${OPERATORS}}`, '{{pod}}']],
      texts: { 0: ['waits', 'blue'], 1: ['leads', 'green'] },
    },
    {
      title: 'Versions that run',
      answers: 'Which builds of the operator are there?',
      kind: 'time',
      stacked: true,
      queries: [[`count by (version, revision) (wsgateway_operator_build_info{${OPERATORS}})`, '{{version}} {{revision}}']],
      decimals: 0,
    },
  ],
};

export const operator: Board = {
  name: 'operator',
  title: 'wsgateway / Operator',
  about: 'Does the operator work: leader, reconciliations, errors, the API server, and what it does with WsGateways.',
  variables: [
    VARIABLES.datasource,
    VARIABLES.namespace,
    VARIABLES.gateway,
    choice('operator', 'Operator', 'label_values(wsgateway_operator_leader, pod)'),
  ],
  rows: [now, reconciling, gateways, api],
};
