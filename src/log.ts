import { type DestinationStream, type Logger, pino } from 'pino';
import { iso } from './sessions/time.ts';

const secrets = new Set(['access_token', 'resume_token', 'token', 'apiSecret', 'api_secret', 'authorization']);
const covered = '[Redacted]';

/** Covers secrets in what is logged, also one level down. pino's own redaction with wildcards costs as much as the rest of the line. */
function cover(fields: Record<string, unknown>, depth = 1): Record<string, unknown> {
  let copy: Record<string, unknown> | undefined;
  for (const key in fields) {
    const value = fields[key];
    const isNested = depth > 0 && typeof value === 'object' && value !== null && !(value instanceof Error);
    const safe = secrets.has(key) ? covered : isNested ? cover(value as Record<string, unknown>, depth - 1) : value;
    if (safe !== value) copy = { ...(copy ?? fields), [key]: safe };
  }
  return copy ?? fields;
}

/** Lines wait for each other this long, or until there is this much of them. */
const flushMs = 50;
const flushBytes = 8_192;

let standardOutput: DestinationStream | undefined;

/** The process's logger: level names, ISO times, and no secret. `to` defaults to standard output, which has every line when the process exits. */
export function makeLog(level: string, to?: DestinationStream): Logger {
  standardOutput ??= pino.destination({ dest: 1, sync: false, minLength: flushBytes, periodicFlush: flushMs });
  return pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${iso(Date.now())}"`,
      formatters: { level: (label) => ({ level: label }), log: (fields) => cover(fields) },
    },
    to ?? standardOutput,
  );
}
