/** Logs of gateways, operator, NATS and publishers in Loki. docs/monitoring.md says which labels the collector must set. */
import * as dashboard from '@grafana/grafana-foundation-sdk/dashboard';
import { type Board, datasource, type Row, VARIABLES } from '../parts.ts';

const GATEWAY = '{namespace=~"$namespace", container="gateway", pod=~"($gateway)-.*"}';
// The operator is in a namespace of its own.
const OPERATOR = '{container="operator", pod=~".*operator.*"}';
const NATS = '{container=~"$nats"}';
const PUBLISHERS = '{container=~"$publisher"}';
const OURS = '{container=~"gateway|operator"}';

const overview: Row = {
  title: 'How much, and how bad',
  panels: [
    {
      title: 'Lines by level',
      answers: 'Is there more to read than usual, and how much of it is errors?',
      kind: 'time',
      loki: true,
      stacked: true,
      queries: [[`sum by (level) (count_over_time(${OURS} | json | __error__="" [$__auto]))`, '{{level}}']],
    },
    {
      title: 'Errors and warnings by message',
      answers: 'Which problems are there, and how often? The messages are fixed texts: what varies is in other fields.',
      kind: 'time',
      loki: true,
      stacked: true,
      queries: [[`sum by (message) (count_over_time(${OURS} | json | level=~"ERROR|WARN" [$__auto]))`, '{{message}}']],
      nothing: 'No errors and no warnings',
    },
    {
      title: 'Errors and warnings',
      answers: 'What went wrong, newest first?',
      kind: 'logs',
      loki: true,
      width: 24,
      queries: [[`${OURS} | json | level=~"ERROR|WARN"`, '']],
    },
  ],
};

const events: Row = {
  title: 'What happened',
  panels: [
    {
      title: 'Sources',
      answers: 'When did pods lose NATS, and when did they get it back?',
      kind: 'logs',
      loki: true,
      queries: [[`${GATEWAY} | json | message="source" | line_format "{{.pod}}: {{.state}} {{.error}}"`, '']],
    },
    {
      title: 'Clients sent elsewhere',
      answers: 'When were pods told to hand over clients, and why?',
      kind: 'logs',
      loki: true,
      queries: [[`${GATEWAY} | json | message=~"clients are to be sent elsewhere|no clients are sent away any more"`, '']],
    },
    {
      title: 'Configuration',
      answers: 'Which changes of the configuration were taken up, and which were refused?',
      kind: 'logs',
      loki: true,
      queries: [[`${GATEWAY} |= "configuration" | json | message=~"the configuration .+"`, '']],
    },
    {
      title: 'Clients, as pods count them',
      answers: 'What did pods report of their clients every minute, where there is no Prometheus?',
      kind: 'time',
      loki: true,
      queries: [[`sum by (pod) (max_over_time(${GATEWAY} |= "statistics" | json | message="statistics" | unwrap activeConnections [$__auto]))`, '{{pod}}']],
    },
  ],
};

const all: Row = {
  title: 'All lines',
  panels: [
    { title: 'Gateway logs', answers: 'Everything that the gateways say.', kind: 'logs', loki: true, queries: [[`${GATEWAY} |~ "(?i)$filter"`, '']] },
    { title: 'Operator logs', answers: 'Everything that the operators say.', kind: 'logs', loki: true, queries: [[`${OPERATOR} |~ "(?i)$filter"`, '']] },
    { title: 'NATS logs', answers: 'Everything that NATS says. Its containers are the variable NATS.', kind: 'logs', loki: true, queries: [[`${NATS} |~ "(?i)$filter"`, '']] },
    { title: 'Publisher logs', answers: 'Everything that your publishers say. Their containers are the variable Publisher.', kind: 'logs', loki: true, queries: [[`${PUBLISHERS} |~ "(?i)$filter"`, '']] },
    {
      title: 'Message broadcasts',
      answers: 'How many messages did each pod send, by its own statistics line?',
      kind: 'logs',
      loki: true,
      queries: [[`${GATEWAY} |= "statistics" | json | message="statistics" | line_format "{{.pod}}: {{.messagesSent}} messages to {{.activeConnections}} clients"`, '']],
    },
    {
      title: 'Price updates',
      answers: 'What do publishers say of what they publish?',
      kind: 'logs',
      loki: true,
      queries: [[`${PUBLISHERS} |~ "(?i)(publish|token|price)"`, '']],
    },
  ],
};

const text = (name: string, label: string, value: string) => new dashboard.TextBoxVariableBuilder(name).label(label).defaultValue(value);

export const logs: Board = {
  name: 'logs',
  title: 'wsgateway / Logs',
  about: 'What gateways, operator, NATS and publishers say, in Loki.',
  variables: [
    VARIABLES.datasource,
    datasource('loki', 'Loki', 'loki'),
    VARIABLES.namespace,
    VARIABLES.gateway,
    text('nats', 'NATS', 'nats.*'),
    text('publisher', 'Publisher', '.*publisher.*'),
    text('filter', 'Filter', '.*'),
  ],
  rows: [overview, events, all],
};
