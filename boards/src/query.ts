/** Queries of the boards: variables replaced, parsed with Grafana's and Prometheus' own grammars, and what they name. */
import type { Parser, SyntaxNode } from '@lezer/common';
import { parser as logql } from '@grafana/lezer-logql';
import { parser as promql } from '@prometheus-io/lezer-promql';

export type Language = 'promql' | 'logql';

/** What stands for Grafana's variables where no board is open. */
export const DEFAULTS: Readonly<Record<string, string>> = {
  __rate_interval: '5m',
  __interval: '1m',
  __range: '1h',
  __auto: '5m',
  namespace: '.*',
  gateway: '.*',
  pod: '.*',
  operator: '.*',
  compare: '1d',
  nats: 'nats.*',
  publisher: '.*publisher.*',
  filter: '.*',
};

/** The expression with its variables replaced; throws for one that no board has. */
export function filled(expr: string, values: Readonly<Record<string, string>> = {}): string {
  return expr.replace(/\$\{?(\w+)\}?/g, (_, name: string) => {
    const value = values[name] ?? DEFAULTS[name];
    if (value === undefined) throw new Error(`unknown variable $${name}`);
    return value;
  });
}

/** The first place that is not of the language, or nothing. */
export function mistake(language: Language, text: string): string | undefined {
  const tree = (language === 'promql' ? (promql as unknown as Parser) : (logql as unknown as Parser)).parse(text);
  let found: string | undefined;
  tree.iterate({
    enter(node) {
      if (node.type.isError) found ??= `at ${node.from}: ${text.slice(Math.max(0, node.from - 20), node.from + 20)}`;
    },
  });
  return found;
}

export interface Matcher {
  readonly label: string;
  readonly op: string;
  readonly value: string;
}

export interface Selector {
  readonly metric: string;
  readonly matchers: readonly Matcher[];
}

function unquoted(text: string): string {
  return text.startsWith('`') ? text.slice(1, -1) : (JSON.parse(text) as string);
}

function all(root: SyntaxNode, name: string): SyntaxNode[] {
  const found: SyntaxNode[] = [];
  root.cursor().iterate((node) => {
    if (node.name === name) found.push(node.node);
  });
  return found;
}

/** The metrics of a PromQL expression with their matchers, and the labels that it groups or matches by. */
export function metricsOf(text: string): { selectors: Selector[]; labels: string[] } {
  const root = (promql as unknown as Parser).parse(text).topNode;
  const of = (node: SyntaxNode) => text.slice(node.from, node.to);
  const selectors = all(root, 'VectorSelector').map((node) => ({
    metric: node.getChild('Identifier') ? of(node.getChild('Identifier') as SyntaxNode) : '',
    matchers: all(node, 'UnquotedLabelMatcher').map((matcher) => ({
      label: of(matcher.getChild('LabelName') as SyntaxNode),
      op: of(matcher.getChild('MatchOp') as SyntaxNode),
      value: unquoted(of(matcher.getChild('StringLiteral') as SyntaxNode)),
    })),
  }));
  const labels = all(root, 'GroupingLabels').flatMap((node) => all(node, 'LabelName').map(of));
  return { selectors, labels };
}

/** The tree of a LogQL query. */
export function logTree(text: string): SyntaxNode {
  return (logql as unknown as Parser).parse(text).topNode;
}

export { all, unquoted };
