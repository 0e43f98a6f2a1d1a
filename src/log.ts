import { type DestinationStream, type Logger, pino } from 'pino';
import { iso } from './sessions/time.ts';

const secrets = new Set(['access_token', 'resume_token', 'token', 'apiSecret', 'api_secret', 'authorization']);
const covered = '[Redacted]';

/** A signed token wherever it stands, as in the text of an error from outside. */
const jwt = /eyJ[\w-]+\.[\w-]*\.?[\w-]*/g;
const withoutTokens = (text: string) => (text.includes('eyJ') ? text.replace(jwt, covered) : text);

/** Covers secrets in what is logged, also one level down. pino's own redaction with wildcards costs as much as the rest of the line. */
function cover(fields: Record<string, unknown>, depth = 1): Record<string, unknown> {
  let copy: Record<string, unknown> | undefined;
  for (const key in fields) {
    const value = fields[key];
    const isNested = depth > 0 && typeof value === 'object' && value !== null && !(value instanceof Error);
    const safe = secrets.has(key)
      ? covered
      : typeof value === 'string'
        ? withoutTokens(value)
        : isNested
          ? cover(value as Record<string, unknown>, depth - 1)
          : value;
    if (safe !== value) copy = { ...(copy ?? fields), [key]: safe };
  }
  return copy ?? fields;
}

/** Lines wait for each other this long, or until there is this much of them. */
const flushMs = 50;
const flushBytes = 8_192;
/** Where nobody reads them, no more than this is kept. */
const maxBytes = 8 * 1_024 * 1_024;
/** The place of a line's level, and how those of the levels begin that are written at once: warn, error, fatal. */
const levelAt = '{"level":"'.length;
const urgent = 'wef';

let ours: DestinationStream | undefined;

/** Standard output: lines are written together, but a warning and worse at once, with all before it. */
function standardOutput(): DestinationStream {
  let lines = '';
  const hand = () => {
    if (lines !== '') output.write(lines);
    lines = '';
  };
  // before pino's own, which writes what it was handed
  process.on('exit', hand);
  const output = pino.destination({ dest: 1, sync: false, minLength: flushBytes, maxLength: maxBytes, periodicFlush: flushMs });
  let dropped = 0;
  output.on('drop', (text: string) => {
    dropped += text.split('\n').length - 1;
  });
  output.on('drain', () => {
    if (dropped === 0) return;
    const line = { level: 'warn', time: iso(Date.now()), dropped, msg: 'log lines were dropped: standard output was not read' };
    dropped = 0;
    output.write(`${JSON.stringify(line)}\n`);
  });
  return {
    // those of one turn of the event loop as one: pino measures each that it is handed
    write(line) {
      if (lines === '') setImmediate(hand);
      lines += line;
      if (!urgent.includes(line.charAt(levelAt))) return;
      hand();
      output.flushSync();
    },
  };
}

/** The process's logger: level names, ISO times, and no secret. `to` defaults to standard output, which has every line when the process exits. */
export function makeLog(level: string, to?: DestinationStream): Logger {
  ours ??= to ? undefined : standardOutput();
  return pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${iso(Date.now())}"`,
      formatters: { level: (label) => ({ level: label }), log: (fields) => cover(fields) },
      serializers: { err: (error) => cover(pino.stdSerializers.err(error) as unknown as Record<string, unknown>, 0) },
    },
    to ?? (ours as DestinationStream),
  );
}
