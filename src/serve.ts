import { existsSync, readFileSync } from 'node:fs';
import { isatty } from 'node:tty';
import { localUrl } from './addresses.ts';
import { authModeOf } from './auth/modes.ts';
import type { Config } from './config.ts';
import { unreadEnvFile, warnings } from './config-load.ts';
import { type Gateway, startGateway } from './gateway.ts';
import { makeLog } from './log/log.ts';
import { Output } from './log/output.ts';
import { printable } from './log/visible.ts';
import { checkConfig } from './resources.ts';
import { type Found, findLiveKit } from './rooms/find.ts';
import { afterRunning } from './time.ts';

/** Ctrl-C and a signal through npm come twice within 2 ms; a second one that is meant comes later. */
const sameSignalMs = 1_000;
/** Beyond the drain time, and half of it again in which the sockets are closed: closing frames, and a LiveKit that was started here. */
const stopMarginMs = 15_000;

/** Runs the gateway until a signal ends it. @param readConfig the configuration, read again each time @throws ConfigError */
export async function serve(readConfig: () => Config): Promise<void> {
  const config = readConfig();
  const pretty = config.logging.format === 'pretty' || (config.logging.format === undefined && process.stdout.isTTY);
  const format = pretty ? await prettyFormat() : undefined;
  const log = makeLog(config.logging.level, format && new Output(1, format));

  // before anything is started, so that a signal in the middle of it leaves nothing behind
  const started: { livekit?: Found; gateway?: Gateway } = {};
  let isStopping = false;
  let mayForce = false;
  const stop = (signal: string) => {
    if (isStopping) {
      if (mayForce) process.exit(1);
      return;
    }
    isStopping = true;
    log.info({ signal }, 'shutting down: ending sessions, deleting rooms (Ctrl-C again to force)');
    afterRunning(sameSignalMs, () => {
      mayForce = true;
    });
    afterRunning(config.server.drain_s * 1_500 + stopMarginMs, () => process.exit(1));
    void Promise.resolve(started.gateway?.close())
      .then(() => started.livekit?.stop())
      .then(
        () => log.info('stopped'),
        (err) => log.error({ err }, 'stop failed'),
      )
      .finally(() => process.exit(0));
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  // a closed terminal ends its programs; nohup has made the others ignore that, but Node undoes it. Looked at now: once closed, it is none
  const hasTerminal = isatty(1) || isatty(2);
  process.on('SIGHUP', (signal) => {
    if (hasTerminal) stop(signal);
    else log.info({ signal }, 'SIGHUP ignored: output is not a terminal; SIGTERM stops the gateway');
  });

  // before a LiveKit is looked for, which takes seconds
  await checkConfig(config);
  const { server_url, api_key, api_secret, mode } = config.livekit;
  const livekit = await findLiveKit({
    serverUrl: server_url,
    apiKey: api_key,
    apiSecret: api_secret,
    mode,
    ...(config.server.port > 0 && {
      webhookUrl: `${localUrl({ ...config.server, isTls: config.server.tls_cert !== undefined })}/livekit/webhook`,
    }),
  });
  started.livekit = livekit;
  const gateway = await startGateway({ config, readConfig, livekit, log }).catch(async (error) => {
    await livekit.stop();
    throw error;
  });
  started.gateway = gateway;

  // for whoever started it; what reads standard output finds log lines only
  const socketUrl = `${gateway.url.replace(/^http/, 'ws')}/ws`;
  const banner = [
    livekit.said,
    `Socket:   ${socketUrl}`,
    `REST:     ${gateway.url}`,
    authModeOf(config.auth).isRequired
      ? 'Peers:    need a credential; `keys token --identity ada` with the same --config prints one'
      : `Try:      websocat ${socketUrl}   then paste   {"type":"NewSessionRequest","id":"1","user_identity":"ada"}`,
  ];
  new Output(2).write(banner.map((line) => `${line}\n`).join(''));
  for (const warning of warnings(config)) log.warn(warning);
  const unread = existsSync('.env') ? unreadEnvFile(readFileSync('.env', 'utf8'), process.env) : undefined;
  if (unread) log.warn(unread);
}

/** Readable lines where a person looks on. The package is for development: without it the lines stay JSON. */
async function prettyFormat(): Promise<((line: string) => string) | undefined> {
  try {
    const { prettyFactory } = await import('pino-pretty');
    const pretty = prettyFactory({ colorize: process.stdout.isTTY, ignore: 'pid,hostname', singleLine: true });
    return (line) => pretty(printable(line));
  } catch {
    return undefined;
  }
}
