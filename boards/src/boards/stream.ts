/** From the stream in NATS to the pods that read it. */
import { type Board, CHOSEN, type Row, VARIABLES } from '../parts.ts';

const BY = 'namespace, gateway';
const EVERY = '[$__rate_interval]';

const now: Row = {
  title: 'Now',
  panels: [
    {
      title: 'NATS',
      answers: 'Do all pods read the stream? "away": at least one does not.',
      kind: 'stat',
      queries: [[`min(wsgateway_source_state{${CHOSEN}, state="live"})`, 'NATS']],
      texts: { 0: ['away', 'red'], 1: ['live', 'green'] },
      nothing: 'no pod',
      steps: [[null, 'red'], [1, 'green']],
    },
    {
      title: 'Stream in order',
      answers: 'Is the stream as specified, by the condition StreamReady? If not: kubectl describe wsgw.',
      kind: 'stat',
      queries: [[`min(max by (${BY}) (wsgateway_operator_gateway_condition{${CHOSEN}, condition="StreamReady"}))`, 'stream']],
      texts: { 0: ['no', 'red'], 1: ['yes', 'green'] },
      steps: [[null, 'red'], [1, 'green']],
    },
    {
      title: 'Largest lag',
      answers: 'How many messages has the slowest pod still to read?',
      kind: 'stat',
      queries: [[`max(wsgateway_source_lag_messages{${CHOSEN}})`, 'messages']],
      steps: [[null, 'green'], [1000, 'yellow'], [10000, 'red']],
    },
    {
      title: 'Lost before they were read',
      answers: 'Did the stream discard messages that a pod had not read, in the chosen time? Its clients were told of a gap.',
      kind: 'stat',
      queries: [[`sum(increase(wsgateway_source_lost_total{${CHOSEN}}[$__range]))`, 'messages']],
      decimals: 0,
      steps: [[null, 'green'], [1, 'red']],
    },
    {
      title: 'Messages kept',
      answers: 'How many messages did the stream keep when the operator last asked NATS, at most five minutes ago? They are what clients can resume from.',
      kind: 'stat',
      queries: [[`sum(max by (${BY}) (wsgateway_operator_gateway_stream_messages{${CHOSEN}}))`, 'messages']],
    },
    {
      title: 'Bytes kept',
      answers: 'How large is the stream? At stream.maxBytes the oldest messages are discarded.',
      kind: 'stat',
      queries: [[`sum(max by (${BY}) (wsgateway_operator_gateway_stream_bytes{${CHOSEN}}))`, 'bytes']],
      unit: 'bytes',
    },
  ],
};

const source: Row = {
  title: 'Reading it',
  panels: [
    {
      title: 'State of each source',
      answers: 'Since when is a pod without the stream, and does it come back? live is good; unauthorized and error want a person.',
      kind: 'states',
      queries: [[`max by (pod) (wsgateway_source_state{${CHOSEN}, state="live"})`, '{{pod}}']],
      texts: { 0: ['not live', 'red'], 1: ['live', 'green'] },
    },
    {
      title: 'Pods by state of the source',
      answers: 'What do pods wait for? connecting: NATS; waiting_for_stream: the operator or a person; unauthorized: credentials.',
      kind: 'time',
      stacked: true,
      queries: [[`sum by (state) (wsgateway_source_state{${CHOSEN}})`, '{{state}}']],
      decimals: 0,
    },
    {
      title: 'Lag',
      answers: 'Which pods do not keep up with the stream? One: that pod is short of CPU. All: more comes than a pod can read.',
      kind: 'time',
      queries: [[`topk(8, wsgateway_source_lag_messages{${CHOSEN}})`, '{{pod}}']],
    },
    {
      title: 'Held back by rate limits',
      answers: 'Do pods lag because they were told to? The share of time in which messages wait for rateLimits.streamMessages or deliveries; 100 %: the limit is what decides.',
      kind: 'time',
      queries: [[`rate(wsgateway_source_paced_seconds_total{${CHOSEN}}${EVERY})`, '{{pod}}']],
      unit: 'percentunit',
      min: 0,
    },
    {
      title: 'Messages read',
      answers: 'Do all pods read the same? Every pod reads the whole stream; a line that is lower than the others falls behind.',
      kind: 'time',
      queries: [[`rate(wsgateway_source_messages_total{${CHOSEN}}${EVERY})`, '{{pod}}']],
      unit: 'mps',
    },
    {
      title: 'Position of the pods',
      answers: 'How far are the pods from the newest message? That is what pods have read and what NATS says is still waiting for them, so it is of this moment.',
      kind: 'time',
      queries: [
        [`max by (${BY}) (wsgateway_source_last_sequence{${CHOSEN}} + wsgateway_source_lag_messages{${CHOSEN}})`, '{{gateway}}: newest in the stream'],
        [`min by (${BY}) (wsgateway_source_last_sequence{${CHOSEN}})`, '{{gateway}}: hindmost pod'],
        [`max by (${BY}) (wsgateway_source_last_sequence{${CHOSEN}})`, '{{gateway}}: foremost pod'],
      ],
    },
    {
      title: 'Begun anew, read twice, lost',
      answers: 'Is the connection to NATS unsteady? Duplicates are dropped and harmless; lost messages are a gap for clients.',
      kind: 'time',
      queries: [
        [`sum(increase(wsgateway_source_restarts_total{${CHOSEN}}${EVERY}))`, 'consumers created anew'],
        [`sum(increase(wsgateway_source_duplicates_total{${CHOSEN}}${EVERY}))`, 'read twice and dropped'],
        [`sum(increase(wsgateway_duplicates_dropped_total{${CHOSEN}}${EVERY}))`, 'repeated by publishers and dropped'],
        [`sum(increase(wsgateway_source_lost_total{${CHOSEN}}${EVERY}))`, 'lost'],
      ],
    },
  ],
};

const kept: Row = {
  title: 'Keeping it',
  panels: [
    {
      title: 'Messages in the stream',
      answers: 'For how long can a client be away? Messages kept, divided by the rate of publishing, is the time that resumes reach back.',
      kind: 'time',
      queries: [[`max by (${BY}) (wsgateway_operator_gateway_stream_messages{${CHOSEN}})`, '{{namespace}}/{{gateway}}']],
    },
    {
      title: 'How far back clients can resume',
      answers: 'Seconds of messages that the stream keeps, at the present rate. Shorter than clients are away, and they miss messages.',
      kind: 'time',
      queries: [
        [
          `max by (${BY}) (wsgateway_operator_gateway_stream_messages{${CHOSEN}}) / (max by (${BY}) (rate(wsgateway_source_messages_total{${CHOSEN}}${EVERY})) > 0)`,
          '{{namespace}}/{{gateway}}',
        ],
      ],
      unit: 's',
      nothing: 'Nothing is published',
    },
    {
      title: 'Bytes in the stream',
      answers: 'Does the stream come near stream.maxBytes? As of when the operator last asked NATS, at most five minutes ago.',
      kind: 'time',
      queries: [[`max by (${BY}) (wsgateway_operator_gateway_stream_bytes{${CHOSEN}})`, '{{namespace}}/{{gateway}}']],
      unit: 'bytes',
    },
    {
      title: 'Consumers',
      answers: 'Is there one consumer for each pod? More: others read the stream, or pods that were killed, whose consumers go after a while.',
      kind: 'time',
      queries: [
        [`max by (${BY}) (wsgateway_operator_gateway_stream_consumers{${CHOSEN}})`, '{{gateway}}: consumers'],
        [`count by (${BY}) (wsgateway_connections{${CHOSEN}})`, '{{gateway}}: pods'],
      ],
      decimals: 0,
    },
    {
      title: 'History of the pods',
      answers: 'How much do pods keep in their own memory for clients that come back, so that NATS is not asked?',
      kind: 'time',
      queries: [[`max by (${BY}) (wsgateway_history_messages{${CHOSEN}})`, '{{gateway}}: messages of the fullest pod']],
    },
    {
      title: 'Channels with a last value',
      answers: 'Do publishers create channels without end? Their number is bounded by history.maxChannels.',
      kind: 'time',
      queries: [[`max by (${BY}) (wsgateway_history_channels{${CHOSEN}})`, '{{namespace}}/{{gateway}}']],
    },
    {
      title: 'Messages sent to those who catch up',
      answers: 'What do reconnecting clients cost? Messages from the history and from the stream, and lookups in NATS that failed.',
      kind: 'time',
      queries: [
        [`sum by (${BY}) (rate(wsgateway_replayed_total{${CHOSEN}}${EVERY}))`, '{{gateway}}: messages'],
        [`sum by (${BY}) (rate(wsgateway_lookups_failed_total{${CHOSEN}}${EVERY}))`, '{{gateway}}: failed lookups'],
      ],
    },
    {
      title: 'Changes of streams by the operator',
      answers: 'Did the operator create, change or delete streams in the chosen time?',
      kind: 'time',
      queries: [['sum by (action) (increase(wsgateway_operator_streams_total[$__rate_interval]))', '{{action}}']],
      decimals: 0,
    },
  ],
};

export const stream: Board = {
  name: 'stream',
  title: 'wsgateway / Stream',
  about: 'The stream in NATS and the pods that read it: is NATS there, do pods keep up, how far back can clients resume.',
  variables: [VARIABLES.datasource, VARIABLES.namespace, VARIABLES.gateway],
  rows: [now, source, kept],
};
