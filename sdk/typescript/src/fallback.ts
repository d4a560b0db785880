/** What is loaded only when WebSocket cannot be opened. */
export { answersHttp } from './plain-http.js';
export { openPoll } from './transport-poll.js';
export { openSse } from './transport-sse.js';
export { Trials } from './trials.js';
