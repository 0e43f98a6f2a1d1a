import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Child } from './children.ts';
import type { DialectName } from './load/dialect.ts';

/** A server that is measured. */
export interface Contestant {
  name: string;
  script: string;
  dialect: DialectName;
  /** Of the gateway: where its sessions live. */
  storage?: string;
  /** Of its load, where it is not the workload's. */
  size?: number;
  /** The checkout whose server it is; default: this one. */
  root?: string;
}

export const gateway: Contestant = { name: 'gateway', script: 'servers/gateway.js', dialect: 'plain' };
/** What the others are compared with. */
export const bare: Contestant = { name: 'bare ws', script: 'servers/bare.js', dialect: 'plain' };
/** The same again, in its own process: how far it is from itself is the noise. */
export const again: Contestant = { ...bare, name: 'bare ws again' };
export const socketio: Contestant = { name: 'socket.io', script: 'servers/socketio.js', dialect: 'socketio' };

/** A server that runs, and its load. */
export interface Pair {
  contestant: Contestant;
  port: number;
  server: Child;
  load: Child;
}

/** The logs of the gateways, removed at the end. */
const logs = mkdtempSync(join(tmpdir(), 'bench-'));
process.on('exit', () => rmSync(logs, { recursive: true, force: true }));

/** Starts fresh processes. */
export async function startPair(contestant: Contestant): Promise<Pair> {
  const log = openSync(join(logs, 'server.log'), 'w');
  const server = new Child(contestant.script, 'server', log, contestant.root);
  closeSync(log);
  const load = new Child('load/main.js', 'load');
  const { port } = await server.ask<{ port: number }>('start', { storage: contestant.storage });
  return { contestant, port, server, load };
}

export const stopPair = ({ server, load }: Pair) => Promise.all([server.stop(), load.stop()]);
