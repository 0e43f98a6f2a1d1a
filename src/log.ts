import { type DestinationStream, type Logger, pino } from 'pino';

/** The process's logger: level names, ISO times, and no secret. `to` defaults to standard output. */
export function makeLog(level: string, to?: DestinationStream): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: ['access_token', 'token', 'apiSecret', 'api_secret', 'authorization', '*.access_token', '*.authorization'],
    },
    to ?? pino.destination(1),
  );
}
