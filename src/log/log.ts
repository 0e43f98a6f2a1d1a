import { type DestinationStream, type Logger, pino } from 'pino';
import { safeText, withoutSecrets } from '../secrets.ts';
import { iso } from '../time.ts';
import { Output } from './output.ts';
import { acting, escaped } from './visible.ts';

let standardOutput: Output | undefined;

/** The process's logger: level names, ISO times, and no secret. `to` defaults to standard output, which has every line when the process exits. */
export function makeLog(level: string, to?: DestinationStream): Logger {
  if (!to) standardOutput ??= new Output(1);
  return pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${iso(Date.now())}"`,
      formatters: { level: (label) => ({ level: label }), log: (fields) => withoutSecrets(fields) },
      hooks: { streamWrite: (line) => safeText(line).replace(acting, escaped) },
      serializers: { err: (error) => withoutSecrets(pino.stdSerializers.err(error), 1) },
    },
    to ?? (standardOutput as Output),
  );
}
