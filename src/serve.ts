import { type Config, warnings } from './config.ts';
import { type Gateway, startGateway } from './gateway.ts';
import { makeLog } from './log.ts';
import { type Found, findLiveKit } from './rooms/find.ts';

/** Ctrl-C and a signal through npm come twice within 2 ms; a second one that is meant comes later. */
const sameSignalMs = 1_000;
/** Beyond the drain time: closing frames, and a LiveKit that was started here. */
const stopMarginMs = 15_000;

/** Runs the gateway until a signal ends it. @throws ConfigError */
export async function serve(config: Config): Promise<void> {
  const pretty = config.logging.format === 'pretty' || (config.logging.format === undefined && process.stdout.isTTY);
  const log = makeLog(config.logging.level, pretty ? await prettyStream() : undefined);

  // before anything is started, so that a signal in the middle of it leaves nothing behind
  const started: { livekit?: Found; gateway?: Gateway } = {};
  let stopping = 0;
  const stop = (signal: string) => {
    if (stopping > 0) {
      if (Date.now() - stopping >= sameSignalMs) process.exit(1);
      return;
    }
    stopping = Date.now();
    log.info({ signal }, 'stopping: sessions end and rooms are deleted; the same signal again after a second leaves at once');
    setTimeout(() => process.exit(1), config.server.drain_s * 1_000 + stopMarginMs).unref();
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
  process.on('SIGHUP', stop);

  const { server_url, api_key, api_secret, mode } = config.livekit;
  const livekit = await findLiveKit({
    serverUrl: server_url,
    apiKey: api_key,
    apiSecret: api_secret,
    mode,
    ...(config.server.port > 0 && { webhookUrl: `http://127.0.0.1:${config.server.port}/livekit/webhook` }),
  });
  started.livekit = livekit;
  const gateway = await startGateway({ config, livekit, log }).catch(async (error) => {
    await livekit.stop();
    throw error;
  });
  started.gateway = gateway;

  const say = (line: string) => process.stdout.write(`${line}\n`);
  const socketUrl = `${gateway.url.replace(/^http/, 'ws')}/ws`;
  say(livekit.said);
  say(`Socket:   ${socketUrl}`);
  say(`REST:     ${gateway.url}`);
  say(`Try:      websocat ${socketUrl}   then paste   {"type":"NewSessionRequest","id":"1","user_identity":"ada"}`);
  for (const warning of warnings(config)) log.warn(warning);
}

/** Readable lines where a person looks on. The package is for development: without it the lines stay JSON. */
async function prettyStream() {
  try {
    const { default: pretty } = await import('pino-pretty');
    return pretty({ colorize: process.stdout.isTTY, ignore: 'pid,hostname', sync: true });
  } catch {
    return undefined;
  }
}
