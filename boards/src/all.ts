/** The boards, and where things are. */
import { fileURLToPath } from 'node:url';
import { fleet } from './boards/fleet.ts';
import { logs } from './boards/logs.ts';
import { operator } from './boards/operator.ts';
import { pod } from './boards/pod.ts';
import { stream } from './boards/stream.ts';
import type { Board } from './parts.ts';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));
export const FOLDER = `${ROOT}charts/wsgateway/dashboards`;
export const BOARDS: readonly Board[] = [fleet, pod, stream, operator, logs];
