/** Questions to Prometheus. */

export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  /** Time in seconds, and value. */
  readonly values: readonly (readonly [number, string])[];
}

export class Prometheus {
  constructor(readonly base: string) {}

  async #get<T>(path: string, parameters: Record<string, string> = {}): Promise<T> {
    const answer = await fetch(`${this.base}/api/v1/${path}?${new URLSearchParams(parameters)}`);
    const body = (await answer.json()) as { status: string; error?: string; data: T };
    if (body.status !== 'success') throw new Error(`${path} ${parameters['query'] ?? ''}: ${body.error}`);
    return body.data;
  }

  async instant(query: string, time?: number): Promise<Series[]> {
    const parameters: Record<string, string> = time === undefined ? { query } : { query, time: String(time) };
    type Vector = { resultType: string; result: { metric: Record<string, string>; value: [number, string] }[] };
    const data = await this.#get<Vector>('query', parameters);
    if (data.resultType === 'scalar') return [{ metric: {}, values: [data.result as unknown as [number, string]] }];
    return data.result.map(({ metric, value }) => ({ metric, values: [value] }));
  }

  async range(query: string, start: number, end: number, step: number): Promise<Series[]> {
    const parameters = { query, start: String(start), end: String(end), step: String(step) };
    return (await this.#get<{ result: Series[] }>('query_range', parameters)).result;
  }

  async targets(): Promise<{ labels: Record<string, string>; health: string; scrapePool: string; lastError: string }[]> {
    return (await this.#get<{ activeTargets: never[] }>('targets', { state: 'active' })).activeTargets;
  }

  async rules(): Promise<{ name: string; health: string; lastError?: string; type: string }[]> {
    const { groups } = await this.#get<{ groups: { rules: never[] }[] }>('rules');
    return groups.flatMap(({ rules }) => rules);
  }

  /** Alerts that fire, as name and severity. */
  async firing(): Promise<Set<string>> {
    const series = await this.instant('ALERTS{alertstate="firing", alertname=~"WsGateway.+"}');
    return new Set(series.map(({ metric }) => `${metric['alertname']} (${metric['severity']})`));
  }
}
