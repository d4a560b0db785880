export { type Channels, createClient, WsGatewayClient } from './client.js';
export type * from './types.js';
