// Publishes each line of standard input, a JSON text, on a subject: node publish.js SUBJECT < lines
// NATS_URL says where NATS is (default nats://127.0.0.1:4222).
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { jetstream } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';

const [subject] = process.argv.slice(2);
if (!subject) throw new Error('usage: node publish.js SUBJECT < lines');

const connection = await connect({ servers: process.env.NATS_URL ?? 'nats://127.0.0.1:4222' });
const stream = jetstream(connection);
for await (const line of createInterface({ input: process.stdin })) {
  // Stores a message once: the stream drops a repetition with the same id, so an attempt without an answer is repeated.
  const { seq } = await stream.publish(subject, line, { msgID: randomUUID(), retries: 5 });
  console.log('stored as', seq);
}
await connection.drain();
