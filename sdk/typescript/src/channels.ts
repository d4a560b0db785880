/** Channels and patterns, as NATS has them: `*` is one token, `>` is all that follow, one at least. */

export function matches(pattern: string, channel: string): boolean {
  if (pattern === channel) return true;
  const tokens = channel.split('.');
  const parts = pattern.split('.');
  for (const [i, part] of parts.entries()) {
    if (i >= tokens.length) return false;
    if (part === '>') return i === parts.length - 1;
    if (part !== '*' && part !== tokens[i]) return false;
  }
  return parts.length === tokens.length;
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
