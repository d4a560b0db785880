/**
 * Evaluates the LogQL that the boards use over lines of logs, to show that its labels and fields exist.
 *
 * In: entries with the labels that a collector sets. Out: the lines that are left, with their labels; or an error for a
 * construct that is not known here, so that nothing passes because it was ignored. Aggregations over time are those of the
 * lines that are left: only whether there are any, and their labels, is asked.
 */
import type { SyntaxNode } from '@lezer/common';
import { all, logTree, unquoted } from './query.ts';

export interface Entry {
  readonly labels: Readonly<Record<string, string>>;
  readonly line: string;
}

const OPERATORS: Readonly<Record<string, (value: string, wanted: string) => boolean>> = {
  '=': (value, wanted) => value === wanted,
  '!=': (value, wanted) => value !== wanted,
  '=~': (value, wanted) => new RegExp(`^(?:${wanted})$`).test(value),
  '!~': (value, wanted) => !new RegExp(`^(?:${wanted})$`).test(value),
};

/** RE2's flag for case, which is outside of a JavaScript pattern. */
function pattern(text: string): RegExp {
  return text.startsWith('(?i)') ? new RegExp(text.slice(4), 'i') : new RegExp(text);
}

function matches(text: string, matcher: SyntaxNode, labels: Readonly<Record<string, string>>): boolean {
  const of = (node: SyntaxNode) => text.slice(node.from, node.to);
  const [label, op, value] = children(matcher).map(of);
  const test = OPERATORS[op ?? ''];
  if (label === undefined || value === undefined || !test) throw new Error(`unknown matcher ${of(matcher)}`);
  return test(labels[label] ?? '', unquoted(value));
}

function children(node: SyntaxNode): SyntaxNode[] {
  const found: SyntaxNode[] = [];
  for (let child = node.firstChild; child; child = child.nextSibling) found.push(child);
  return found;
}

/** Fields of a JSON line as labels, as `| json` names them. A field that a stream label has is NAME_extracted. */
function extracted(entry: Entry): Entry {
  let fields: unknown;
  try {
    fields = JSON.parse(entry.line);
  } catch {
    return { ...entry, labels: { ...entry.labels, __error__: 'JSONParserErr' } };
  }
  const labels: Record<string, string> = { ...entry.labels };
  for (const [name, value] of Object.entries(fields as Record<string, unknown>)) {
    if (value === null || typeof value === 'object') continue;
    const clean = name.replace(/\W/g, '_');
    labels[clean in entry.labels ? `${clean}_extracted` : clean] = String(value);
  }
  return { ...entry, labels };
}

function stage(text: string, node: SyntaxNode, entries: readonly Entry[]): readonly Entry[] {
  const of = (child: SyntaxNode) => text.slice(child.from, child.to);
  const inner = children(node).find((child) => child.name !== 'Pipe');
  const strings = all(node, 'String').map((child) => unquoted(of(child)));
  switch (inner?.name) {
    case 'LineFilters': {
      const op = of(node).slice(0, 2);
      const [wanted = ''] = strings;
      if (op === '|=') return entries.filter(({ line }) => line.includes(wanted));
      if (op === '|~') return entries.filter(({ line }) => pattern(wanted).test(line));
      break;
    }
    case 'LabelParser':
      if (of(inner) === 'json') return entries.map(extracted);
      break;
    case 'LabelFilter':
      return entries.filter(({ labels }) => all(inner, 'Matcher').every((matcher) => matches(text, matcher, labels)));
    case 'LineFormatExpr': {
      const [template = ''] = strings;
      return entries.map((entry) => ({
        ...entry,
        line: template.replace(/\{\{\s*\.(\w+)\s*\}\}/g, (_, name: string) => entry.labels[name] ?? ''),
      }));
    }
  }
  throw new Error(`unknown stage ${of(node)}`);
}

/** The entries that a query is about. */
export function evaluate(text: string, entries: readonly Entry[]): readonly Entry[] {
  const root = logTree(text);
  const of = (child: SyntaxNode) => text.slice(child.from, child.to);
  const [selector] = all(root, 'Selector');
  if (!selector) throw new Error('no stream selector');
  let left: readonly Entry[] = entries.filter(({ labels }) => all(selector, 'Matcher').every((matcher) => matches(text, matcher, labels)));
  for (const node of all(root, 'PipelineStage').sort((a, b) => a.from - b.from)) left = stage(text, node, left);
  for (const node of all(root, 'UnwrapExpr')) {
    const name = of(all(node, 'Identifier')[0] as SyntaxNode);
    left = left.filter(({ labels }) => Number.isFinite(Number(labels[name] ?? 'none')));
  }
  const grouped = all(root, 'Grouping').flatMap((node) => all(node, 'Identifier').map(of));
  for (const label of grouped) {
    if (left.length > 0 && !left.some(({ labels }) => label in labels)) throw new Error(`no line has ${label}`);
  }
  return left;
}
