/** What is loaded only when WebSocket does not open. */
export { Detour } from './detour.js';
export { openPoll } from './transport-poll.js';
export { openSse } from './transport-sse.js';
