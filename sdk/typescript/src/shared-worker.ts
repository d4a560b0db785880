/** The script of the worker that holds the connection of all tabs. Its name is what they share. */
import { serveWorker } from './shared/places.js';

const scope = globalThis as unknown as { name: string; onconnect: (event: MessageEvent) => void };
scope.onconnect = ({ ports: [port] }) => port && serveWorker(scope.name, port);
