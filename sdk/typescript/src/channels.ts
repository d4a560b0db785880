/** Channels and patterns, as NATS has them: `*` is one token, `>` is all that follow, one at least. */

/** Whether a channel can belong to both; either may be a pattern. */
export function matches(one: string, other: string): boolean {
  const parts = one.split('.');
  const tokens = other.split('.');
  for (let i = 0; ; i++) {
    const [part, token] = [parts[i], tokens[i]];
    if (part === undefined || token === undefined) return part === token;
    if (part === '>' || token === '>') return true;
    if (part !== token && part !== '*' && token !== '*') return false;
  }
}

/** Parts of a list of channels, none longer than `bytes` as JSON; a channel that is longer alone gets its own part. */
export function chunks(channels: readonly string[], bytes: number): string[][] {
  const parts: string[][] = [];
  let left = 0;
  for (const channel of channels) {
    // Three bytes of UTF-8 for each UTF-16 unit at most; escapes are longer, but no channel has any.
    const size = channel.length * 3 + 3;
    if (size > left || parts.length === 0) {
      parts.push([]);
      left = bytes;
    }
    parts.at(-1)?.push(channel);
    left -= size;
  }
  return parts;
}
