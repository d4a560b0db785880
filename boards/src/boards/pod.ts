/** One pod, or a few, down to their shards. */
import { type Board, choice, CHOSEN, POD, type Row, VARIABLES } from '../parts.ts';

const EVERY = '[$__rate_interval]';

const now: Row = {
  title: 'Now',
  panels: [
    {
      title: 'Active connections',
      answers: 'How many clients does this pod hold?',
      kind: 'stat',
      queries: [[`sum(wsgateway_connections{${POD}})`, 'connections']],
    },
    {
      title: 'Full',
      answers: 'How much of its capacity is in use? At 100 % it leaves the Service, and refuses those who come anyway.',
      kind: 'gauge',
      queries: [[`100 * sum(wsgateway_connections{${POD}}) / sum(wsgateway_connections_capacity{${POD}})`, 'full']],
      unit: 'percent',
      min: 0,
      max: 100,
      steps: [[null, 'green'], [75, 'yellow'], [90, 'red']],
    },
    {
      title: 'Source',
      answers: 'In which state is its connection to NATS and the stream? Anything but live: see its log.',
      kind: 'states',
      width: 8,
      height: 5,
      queries: [[`wsgateway_source_state{${POD}} == 1`, '{{state}} ({{pod}})']],
      texts: { 1: ['since', 'blue'] },
    },
    {
      title: 'Up for',
      answers: 'Was it restarted? A pod that was killed has a short time here, and its clients came back with code 1006.',
      kind: 'stat',
      queries: [[`time() - max(process_start_time_seconds{${POD}})`, 'up']],
      unit: 's',
      decimals: 0,
    },
    {
      title: 'Configuration',
      answers: 'Does it run what its files say? "refused": the files have an error, and what ran before goes on; see the log.',
      kind: 'stat',
      queries: [[`max(wsgateway_config_refused{${POD}})`, 'configuration']],
      texts: { 0: ['as written', 'green'], 1: ['refused', 'red'] },
      steps: [[null, 'green'], [1, 'red']],
    },
  ],
};

const clients: Row = {
  title: 'Clients',
  panels: [
    {
      title: 'Connections over time',
      answers: 'Is this pod filled, emptied or left alone? The line above is its capacity.',
      kind: 'time',
      queries: [
        [`wsgateway_connections{${POD}}`, '{{pod}}'],
        [`max(wsgateway_connections_capacity{${POD}})`, 'capacity'],
      ],
    },
    {
      title: 'New and ended connections',
      answers: 'Do clients come and go? Ended ones by close code: 1012 moved by us, 1006 no close frame, 4008 too slow.',
      kind: 'time',
      queries: [
        [`sum(rate(wsgateway_connections_accepted_total{${POD}}${EVERY}))`, 'new'],
        [`sum by (code) (rate(wsgateway_disconnects_total{${POD}}${EVERY})) > 0`, 'ended: {{code}}'],
        [`sum by (reason) (rate(wsgateway_upgrade_rejections_total{${POD}}${EVERY})) > 0`, 'refused: {{reason}}'],
      ],
      unit: 'cps',
    },
    {
      title: 'Commands',
      answers: 'What do clients ask for, and is it wrong? Errors are answered to the client with their reason.',
      kind: 'time',
      queries: [
        [`sum(rate(wsgateway_commands_total{${POD}}${EVERY}))`, 'commands'],
        [`sum(rate(wsgateway_command_errors_total{${POD}}${EVERY}))`, 'answered with an error'],
      ],
      unit: 'reqps',
    },
    {
      title: 'Subscriptions',
      answers: 'How many channels and patterns do the clients of this pod have?',
      kind: 'time',
      queries: [[`wsgateway_subscriptions{${POD}}`, '{{pod}}']],
    },
    {
      title: 'HTTP connections that wait',
      answers: 'Do connections pile up that never become clients? Scanners and slow handshakes; idle ones are closed for new ones.',
      kind: 'time',
      queries: [
        [`wsgateway_pending_connections{${POD}}`, '{{pod}}'],
        [`sum(increase(wsgateway_pending_evicted_total{${POD}}${EVERY}))`, 'closed for a new one'],
        [`sum(increase(wsgateway_accept_errors_total{${POD}}${EVERY}))`, 'could not be accepted'],
      ],
    },
    {
      title: 'Clients that catch up',
      answers: 'Do many clients resume at this moment, and is it too much? Failed lookups: NATS does not answer in time.',
      kind: 'time',
      queries: [
        [`sum(wsgateway_replays{${POD}})`, 'catching up now'],
        [`sum by (outcome) (increase(wsgateway_resumes_total{${POD}}${EVERY}))`, 'resumed: {{outcome}}'],
        [`sum(increase(wsgateway_lookups_failed_total{${POD}}${EVERY}))`, 'lookups failed'],
      ],
    },
  ],
};

const delivery: Row = {
  title: 'Delivery',
  panels: [
    {
      title: 'Message rate',
      answers: 'What comes from NATS, and what goes to clients?',
      kind: 'time',
      queries: [
        [`sum(rate(wsgateway_source_messages_total{${POD}}${EVERY}))`, 'from NATS'],
        [`sum(rate(wsgateway_deliveries_total{${POD}}${EVERY}))`, 'to clients'],
        [`sum(rate(wsgateway_replayed_total{${POD}}${EVERY}))`, 'to those who catch up'],
      ],
      unit: 'mps',
    },
    {
      title: 'Bandwidth',
      answers: 'How much does this pod send?',
      kind: 'time',
      queries: [[`8 * rate(wsgateway_delivered_bytes_total{${POD}}${EVERY})`, '{{pod}}']],
      unit: 'bps',
    },
    {
      title: 'Stored to written',
      answers: 'How old are messages when they have been written? Each column shows how many took how long.',
      kind: 'heatmap',
      queries: [[`sum by (le) (increase(wsgateway_delivery_latency_seconds_bucket{${POD}}${EVERY}))`, '{{le}}']],
    },
    {
      title: 'Stored to written, by shard',
      answers: 'Is one thread late? The 99th of 100 messages of each shard.',
      kind: 'time',
      queries: [
        [`histogram_quantile(0.99, sum by (pod, shard, le) (rate(wsgateway_delivery_latency_seconds_bucket{${POD}}${EVERY})))`, '{{pod}} {{shard}}'],
      ],
      unit: 's',
    },
    {
      title: 'Slow clients',
      answers: 'How many clients do not take what they are sent, and what waits for them?',
      kind: 'time',
      queries: [
        [`sum(wsgateway_outboxes{${POD}})`, 'slow clients'],
        [`sum(increase(wsgateway_disconnects_total{${POD}, code="4008"}${EVERY}))`, 'disconnected (4008)'],
      ],
    },
    {
      title: 'Memory for slow and unfinished clients',
      answers: 'What do slow clients cost, and messages that clients have begun to send? Both are bounded.',
      kind: 'time',
      queries: [
        [`wsgateway_outbox_bytes{${POD}}`, '{{pod}}: bytes that wait'],
        [`wsgateway_outbox_memory_bytes{${POD}}`, '{{pod}}: their memory'],
        [`wsgateway_unfinished_bytes{${POD}}`, '{{pod}}: unfinished messages'],
      ],
      unit: 'bytes',
    },
    {
      title: 'Messages for each write',
      answers: 'Is sending shared well? Messages in one system call; it grows under load and saves CPU.',
      kind: 'time',
      queries: [
        [`sum(rate(wsgateway_deliveries_total{${POD}}${EVERY})) / (sum(rate(wsgateway_delivery_writes_total{${POD}}${EVERY})) > 0)`, 'messages per write'],
        [`sum(rate(wsgateway_batch_frames_total{${POD}}${EVERY}))`, 'frames with several, a second'],
      ],
      nothing: 'Nothing was sent',
    },
    {
      title: 'Left out for slow clients',
      answers: 'Do slow clients of Latest channels get only the newest message, and how many are left out? They are told so.',
      kind: 'time',
      queries: [[`sum(rate(wsgateway_conflated_total{${POD}}${EVERY}))`, 'messages']],
      unit: 'mps',
    },
    {
      title: 'Left out by maxRate',
      answers: 'What does maxRate save? Messages that were replaced by a newer one of their channel within its interval, for every client, and those that wait for the end of one now.',
      kind: 'time',
      queries: [
        [`sum(rate(wsgateway_rate_conflated_total{${POD}}${EVERY}))`, 'left out, a second'],
        [`sum(wsgateway_rate_waiting_messages{${POD}})`, 'waiting now'],
      ],
    },
  ],
};

const shards: Row = {
  title: 'Shards',
  panels: [
    {
      title: 'Connections by shard',
      answers: 'Are the threads loaded evenly?',
      kind: 'time',
      stacked: true,
      queries: [[`wsgateway_shard_connections{${POD}}`, '{{pod}} {{shard}}']],
    },
    {
      title: 'Inbox by shard',
      answers: 'Does a thread fall behind? At 8,192 messages the source waits for it, and with it every client of the pod.',
      kind: 'time',
      queries: [[`wsgateway_shard_inbox_messages{${POD}}`, '{{pod}} {{shard}}']],
    },
    {
      title: 'Longest turn by shard',
      answers: 'How long was a thread busy with other things while a live message waited?',
      kind: 'time',
      queries: [
        [`wsgateway_shard_longest_turn_seconds{${POD}}`, '{{pod}} {{shard}}: longest'],
        [`histogram_quantile(0.99, sum by (pod, shard, le) (rate(wsgateway_shard_turn_seconds_bucket{${POD}}${EVERY})))`, '{{pod}} {{shard}}: p99'],
      ],
      unit: 's',
    },
    {
      title: 'Busy shards',
      answers: 'Is a thread at its end? The share of time that each spends in turns; 100 % is one CPU.',
      kind: 'time',
      queries: [[`100 * sum by (pod, shard) (rate(wsgateway_shard_turn_seconds_sum{${POD}}${EVERY}))`, '{{pod}} {{shard}}']],
      unit: 'percent',
      steps: [[null, 'green'], [80, 'red']],
    },
  ],
};

const resources: Row = {
  title: 'Resources',
  panels: [
    {
      title: 'CPU usage',
      answers: 'How much CPU does it use, and how much may it use?',
      kind: 'time',
      queries: [
        [`rate(process_cpu_seconds_total{${POD}}${EVERY})`, '{{pod}}: cores used'],
        [`max(wsgateway_cpu_limit_cores{${POD}})`, 'cores allowed'],
        [`wsgateway_cpu_percent{${POD}} / 100`, '{{pod}}: as the autoscaler sees it'],
      ],
      decimals: 2,
    },
    {
      title: 'Guards',
      answers: 'Is it short of CPU or memory? reject: new clients are refused; pause: replays and lookups go slowly. Without a limit no guard acts. See the runbook: WsGatewayOverloaded.',
      kind: 'states',
      queries: [[`max by (guard) (wsgateway_guard_active{${POD}})`, '{{guard}}']],
      texts: { 0: ['no', 'green'], 1: ['acts', 'red'] },
    },
    {
      title: 'Memory usage',
      answers: 'How near is it to its limit?',
      kind: 'time',
      queries: [
        [`wsgateway_memory_used_bytes{${POD}}`, '{{pod}}'],
        [`max(wsgateway_memory_limit_bytes{${POD}})`, 'limit'],
        [`wsgateway_history_bytes{${POD}}`, '{{pod}}: history'],
      ],
      unit: 'bytes',
    },
    {
      title: 'Threads',
      answers: 'Does it start threads without end? Fixed after the start.',
      kind: 'time',
      queries: [
        [`process_threads{${POD}}`, '{{pod}}: threads'],
        [`wsgateway_shards{${POD}}`, '{{pod}}: of these, shards'],
      ],
      decimals: 0,
    },
    {
      title: 'File descriptors',
      answers: 'How near is it to the limit of open files? A connection is one.',
      kind: 'time',
      queries: [
        [`process_open_fds{${POD}}`, '{{pod}}'],
        [`max(process_max_fds{${POD}})`, 'limit'],
      ],
    },
    {
      title: 'Changes of the configuration',
      answers: 'Did changes of limits and rules arrive, and were they taken up? Unknown keys: the operator is newer than this pod.',
      kind: 'time',
      queries: [
        [`sum by (outcome) (increase(wsgateway_config_reloads_total{${POD}}${EVERY}))`, '{{outcome}}'],
        [`max(wsgateway_config_unknown_keys{${POD}})`, 'keys that it does not know'],
      ],
    },
    {
      title: 'Build',
      answers: 'Which build is it? Compare with the other pods when one behaves in another way.',
      kind: 'table',
      queries: [[`max by (pod, version, revision) (wsgateway_build_info{${POD}})`, '']],
      columns: { pod: 'Pod', version: 'Version', revision: 'Revision' },
    },
  ],
};

export const pod: Board = {
  name: 'pod',
  title: 'wsgateway / One pod',
  about: 'A pod in detail: its clients, what it delivers and how late, its shards, its resources.',
  variables: [
    VARIABLES.datasource,
    VARIABLES.namespace,
    VARIABLES.gateway,
    choice('pod', 'Pod', `label_values(wsgateway_connections{${CHOSEN}}, pod)`, { one: true }),
  ],
  rows: [now, clients, delivery, shards, resources],
};
