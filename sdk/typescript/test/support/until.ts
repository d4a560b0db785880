/** How long anything may take on a machine that compiles at the same time (ms). */
const SOON = 60_000;

/** Waits for a condition; one that throws does not hold yet. */
export async function until(what: string, condition: () => unknown, context = (): string => ''): Promise<void> {
  const deadline = Date.now() + SOON;
  for (;;) {
    try {
      if (await condition()) return;
    } catch {}
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}\n${context()}`);
    await new Promise((done) => setTimeout(done, 10));
  }
}
