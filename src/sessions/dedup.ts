import { createHash } from 'node:crypto';
import type { Draft } from './draft.ts';
import type { Remembered, Session } from './record.ts';

/** So many commands are remembered for each session, the latest, and together no more than this in JSON. */
const maxCommands = 256;
const maxOutcomeBytes = 32_768;

/** The name of a request in the list of those remembered: the same request has the same, its id included. */
export const hashOf = (request: object) => createHash('sha256').update(JSON.stringify(request)).digest('base64url').slice(0, 22);

/** What came of a command that was carried out before. */
export const remembered = (session: Session, hash: string | undefined) =>
  hash === undefined ? undefined : session.remembered?.find((command) => command.hash === hash)?.outcome;

/** Keeps what came of a command together with the change itself. */
export function remember(d: Draft, hash: string, outcome: Record<string, unknown>): void {
  const command: Remembered = { hash, outcome, bytes: Buffer.byteLength(JSON.stringify(outcome)) };
  const commands = [...(d.s.remembered ?? []), command].slice(-maxCommands);
  let bytes = commands.reduce((sum, kept) => sum + kept.bytes, 0);
  // the newest is kept whatever it takes
  while (bytes > maxOutcomeBytes && commands.length > 1) bytes -= commands.shift()?.bytes ?? 0;
  d.s.remembered = commands;
}
