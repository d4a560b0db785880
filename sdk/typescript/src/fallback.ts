/** What is loaded only when WebSocket cannot be opened. */
export { openPoll } from './transport-poll.js';
export { openSse } from './transport-sse.js';
