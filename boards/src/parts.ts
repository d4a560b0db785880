/** What every board is put together from: panels that answer a question, variables and links. */
import * as common from '@grafana/grafana-foundation-sdk/common';
import * as dashboard from '@grafana/grafana-foundation-sdk/dashboard';
import * as bargauge from '@grafana/grafana-foundation-sdk/bargauge';
import * as gauge from '@grafana/grafana-foundation-sdk/gauge';
import * as heatmap from '@grafana/grafana-foundation-sdk/heatmap';
import * as logs from '@grafana/grafana-foundation-sdk/logs';
import * as loki from '@grafana/grafana-foundation-sdk/loki';
import * as prometheus from '@grafana/grafana-foundation-sdk/prometheus';
import * as stat from '@grafana/grafana-foundation-sdk/stat';
import * as statetimeline from '@grafana/grafana-foundation-sdk/statetimeline';
import * as table from '@grafana/grafana-foundation-sdk/table';
import * as timeseries from '@grafana/grafana-foundation-sdk/timeseries';
import type { Builder, Dataquery } from '@grafana/grafana-foundation-sdk/cog';

/** Where boards and alerts lead to. */
export const RUNBOOK = 'https://github.com/wsgateway/wsgateway/blob/main/docs/runbook.md';

export const PROMETHEUS: common.DataSourceRef = { type: 'prometheus', uid: '${datasource}' };
export const LOKI: common.DataSourceRef = { type: 'loki', uid: '${loki}' };

/** Selects what the pods of the chosen WsGateways report, and what the operator reports of these. */
export const CHOSEN = 'namespace=~"$namespace", gateway=~"$gateway"';
export const POD = `${CHOSEN}, pod=~"$pod"`;

export type Kind = 'time' | 'stat' | 'gauge' | 'bars' | 'table' | 'heatmap' | 'states' | 'logs';
/** An expression, its legend, and whether only the newest value counts. */
export type Query = readonly [expr: string, legend: string];
export type Step = readonly [from: number | null, color: 'green' | 'yellow' | 'orange' | 'red' | 'blue' | 'text'];

export interface Panel {
  readonly title: string;
  /** The question of on-call that it answers, and what to make of the answer. */
  readonly answers: string;
  readonly kind: Kind;
  /** The queries are LogQL. */
  readonly loki?: boolean;
  readonly queries: readonly Query[];
  readonly unit?: string;
  readonly decimals?: number;
  readonly min?: number;
  readonly max?: number;
  readonly width?: number;
  readonly height?: number;
  readonly stacked?: boolean;
  /** Steps in order; the first has no lower bound. */
  readonly steps?: readonly Step[];
  /** Texts for values, with their colours. */
  readonly texts?: Readonly<Record<string, readonly [text: string, color: string]>>;
  /** What is shown where there is nothing to show, which is good news. */
  readonly nothing?: string;
  /** Columns of a table, by label, in order; `Value` is the number. */
  readonly columns?: Readonly<Record<string, string>>;
}

const NEWEST = () => new common.ReduceDataOptionsBuilder().calcs(['lastNotNull']).fields('').values(false);

function thresholds(steps: readonly Step[]): dashboard.ThresholdsConfigBuilder {
  const list = steps.map(([value, color]) => ({ value, color }));
  return new dashboard.ThresholdsConfigBuilder().mode(dashboard.ThresholdsMode.Absolute).steps(list);
}

function mappings(texts: NonNullable<Panel['texts']>): dashboard.ValueMapping[] {
  const options: Record<string, dashboard.ValueMappingResult> = {};
  Object.entries(texts).forEach(([value, [text, color]], index) => {
    options[value] = { text, color, index };
  });
  return [{ type: dashboard.MappingType.ValueToText, options }];
}

function target(panel: Panel, [expr, legend]: Query, index: number): Builder<Dataquery> {
  if (panel.loki) {
    const query = new loki.DataqueryBuilder().refId(String.fromCharCode(65 + index)).datasource(LOKI).expr(expr);
    return query.legendFormat(legend).queryType('range').editorMode(loki.QueryEditorMode.Code);
  }
  const query = new prometheus.DataqueryBuilder()
    .refId(String.fromCharCode(65 + index))
    .datasource(PROMETHEUS)
    .expr(expr)
    .legendFormat(legend)
    .editorMode(prometheus.QueryEditorMode.Code);
  if (panel.kind === 'table') return query.instant().format(prometheus.PromQueryFormat.Table);
  if (panel.kind === 'gauge' || panel.kind === 'bars') return query.instant();
  if (panel.kind === 'heatmap') return query.range().format(prometheus.PromQueryFormat.Heatmap);
  return query.range();
}

function time(panel: Panel): timeseries.PanelBuilder {
  const builder = new timeseries.PanelBuilder()
    .lineWidth(1)
    .fillOpacity(panel.stacked ? 40 : 8)
    .showPoints(common.VisibilityMode.Never)
    .axisSoftMin(0)
    .legend(
      new common.VizLegendOptionsBuilder()
        .displayMode(common.LegendDisplayMode.List)
        .placement(common.LegendPlacement.Bottom)
        .showLegend(true)
        .calcs([]),
    )
    .tooltip(
      new common.VizTooltipOptionsBuilder()
        .mode(common.TooltipDisplayMode.Multi)
        .sort(common.SortOrder.Descending),
    );
  if (panel.stacked) builder.stacking(new common.StackingConfigBuilder().mode(common.StackingMode.Normal).group('A'));
  if (panel.steps) {
    builder.thresholdsStyle(
      new common.GraphThresholdsStyleConfigBuilder().mode(common.GraphThresholdsStyleMode.Dashed),
    );
  }
  return builder;
}

function tabled(panel: Panel): table.PanelBuilder {
  const columns = Object.keys(panel.columns ?? {});
  return new table.PanelBuilder().withTransformation({
    id: 'organize',
    options: {
      excludeByName: { Time: true, __name__: true, job: true, instance: true, endpoint: true, container: true },
      indexByName: Object.fromEntries(columns.map((name, index) => [name, index])),
      renameByName: panel.columns ?? {},
    },
  });
}

const MAKERS = {
  time,
  stat: () => new stat.PanelBuilder().reduceOptions(NEWEST()).graphMode(common.BigValueGraphMode.Area),
  gauge: () => new gauge.PanelBuilder().reduceOptions(NEWEST()).showThresholdMarkers(true),
  bars: () =>
    new bargauge.PanelBuilder()
      .reduceOptions(NEWEST())
      .orientation(common.VizOrientation.Horizontal)
      .displayMode(common.BarGaugeDisplayMode.Basic),
  table: tabled,
  heatmap: () =>
    new heatmap.PanelBuilder()
      .calculate(false)
      .yAxis(new heatmap.YAxisConfigBuilder().unit('s'))
      .color(new heatmap.HeatmapColorOptionsBuilder().mode(heatmap.HeatmapColorMode.Scheme).scheme('Oranges').steps(64)),
  logs: () =>
    new logs.PanelBuilder()
      .showTime(true)
      .wrapLogMessage(true)
      .enableLogDetails(true)
      .sortOrder(common.LogsSortOrder.Descending)
      .dedupStrategy(common.LogsDedupStrategy.None),
  states: () => new statetimeline.PanelBuilder().mergeValues(true).fillOpacity(80),
} as const;

/** A panel of a board. */
export function build(panel: Panel): Builder<dashboard.Panel> {
  // Every kind has these.
  const builder = MAKERS[panel.kind](panel) as timeseries.PanelBuilder;
  builder
    .title(panel.title)
    .description(panel.answers)
    .datasource(panel.loki ? LOKI : PROMETHEUS)
    .span(panel.width ?? (panel.kind === 'stat' || panel.kind === 'gauge' ? 4 : 12))
    .height(panel.height ?? (panel.kind === 'stat' || panel.kind === 'gauge' ? 5 : 8))
    .targets(panel.queries.map((query, index) => target(panel, query, index)));
  if (panel.unit !== undefined) builder.unit(panel.unit);
  if (panel.decimals !== undefined) builder.decimals(panel.decimals);
  if (panel.min !== undefined) builder.min(panel.min);
  if (panel.max !== undefined) builder.max(panel.max);
  if (panel.nothing !== undefined) builder.noValue(panel.nothing);
  if (panel.texts) builder.mappings(mappings(panel.texts));
  if (panel.kind === 'logs') return builder;
  builder.thresholds(thresholds(panel.steps ?? [[null, 'green']]));
  const mode = panel.steps || panel.kind === 'states' ? dashboard.FieldColorModeId.Thresholds : dashboard.FieldColorModeId.PaletteClassic;
  if (panel.kind !== 'time') builder.colorScheme(new dashboard.FieldColorBuilder().mode(mode));
  return builder;
}

export interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

export interface Board {
  readonly name: string;
  readonly title: string;
  readonly about: string;
  readonly variables: readonly Builder<dashboard.VariableModel>[];
  readonly rows: readonly Row[];
}

export function datasource(name: string, label: string, type: string): Builder<dashboard.VariableModel> {
  return new dashboard.DatasourceVariableBuilder(name).label(label).type(type);
}

/** A variable with the values of a label. */
export function choice(name: string, label: string, query: string, options: { one?: boolean } = {}) {
  const builder = new dashboard.QueryVariableBuilder(name)
    .label(label)
    .datasource(PROMETHEUS)
    .query({ query, refId: name })
    .refresh(dashboard.VariableRefresh.OnTimeRangeChanged)
    .sort(dashboard.VariableSort.AlphabeticalAsc);
  if (options.one) return builder;
  return builder.multi(true).includeAll(true).allValue('.*').current({ text: 'All', value: '$__all' });
}

export const VARIABLES = {
  datasource: datasource('datasource', 'Prometheus', 'prometheus'),
  namespace: choice('namespace', 'Namespace', 'label_values(wsgateway_connections, namespace)'),
  gateway: choice('gateway', 'Gateway', 'label_values(wsgateway_connections{namespace=~"$namespace"}, gateway)'),
  pod: choice('pod', 'Pod', `label_values(wsgateway_connections{${CHOSEN}}, pod)`),
};

const BOARDS = ['fleet', 'pod', 'stream', 'operator', 'logs'] as const;

/** Links to the other boards, with the choices and the time, and to the runbook. */
export function links(self: string): Builder<dashboard.DashboardLink>[] {
  const boards = BOARDS.filter((name) => name !== self).map((name) =>
    new dashboard.DashboardLinkBuilder(name === 'pod' ? 'One pod' : name[0]?.toUpperCase() + name.slice(1))
      .type(dashboard.DashboardLinkType.Link)
      .icon('dashboard')
      .url(`/d/wsgateway-${name}`)
      .includeVars(true)
      .keepTime(true),
  );
  const runbook = new dashboard.DashboardLinkBuilder('Runbook')
    .type(dashboard.DashboardLinkType.Link)
    .icon('doc')
    .url(RUNBOOK)
    .targetBlank(true);
  return [...boards, runbook];
}

/** Marks the time in which clients are to be moved, and what for. */
function handovers(): Builder<dashboard.AnnotationQuery> {
  return new dashboard.AnnotationQueryBuilder()
    .name('Clients are moved')
    .datasource(PROMETHEUS)
    .enable(true)
    .iconColor('blue')
    .expr(`sum by (namespace, gateway, plan) (wsgateway_operator_gateway_plan_clients_left{${CHOSEN}}) > 0`)
    .step('30s')
    .titleFormat('{{plan}}')
    .textFormat('{{namespace}}/{{gateway}}');
}

export function empty(board: Omit<Board, 'rows'>): dashboard.DashboardBuilder {
  const builder = new dashboard.DashboardBuilder(board.title)
    .uid(`wsgateway-${board.name}`)
    .description(board.about)
    .tags(['wsgateway'])
    .time({ from: 'now-1h', to: 'now' })
    .refresh('30s')
    .timezone('browser')
    .readonly()
    .tooltip(dashboard.DashboardCursorSync.Crosshair)
    .variables([...board.variables])
    .links(links(board.name));
  if (board.name !== 'logs' && board.name !== 'operator') builder.annotation(handovers());
  return builder;
}

export function assemble(board: Board): dashboard.Dashboard {
  const builder = empty(board);
  for (const row of board.rows) {
    builder.withRow(new dashboard.RowBuilder(row.title));
    for (const panel of row.panels) builder.withPanel(build(panel));
  }
  return builder.build();
}
