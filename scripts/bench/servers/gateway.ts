// The gateway under test, as `npm start` runs it: its log goes to standard output, which the bench points at a file.
import { loadConfig } from '../../../src/config-load.ts';
import { type Gateway, startGateway } from '../../../src/gateway.ts';
import { makeLog } from '../../../src/log/log.ts';
import { serve } from '../rpc.ts';
import { key, livekitUrl, secret } from './key.ts';
import { serverAnswers } from './stats.ts';

const aboveTheLoad = '100000000';
const unlimited = {
  LIMITS_MESSAGES_PER_SECOND: aboveTheLoad,
  LIMITS_MESSAGE_BURST: aboveTheLoad,
  LIMITS_UPGRADES_PER_SECOND: aboveTheLoad,
  LIMITS_BYTES_PER_SECOND: '2000000000',
  LIMITS_ANSWER_BYTES_PER_SECOND: '2000000000',
  LIMITS_MESSAGES_PER_SESSION: aboveTheLoad,
};
let gateway: Gateway | undefined;

serve({
  ...serverAnswers,
  async start({ storage, limited }: { storage?: string | undefined; limited?: true | undefined }) {
    // everything else is left as it is by default
    const config = loadConfig({
      SERVER_PORT: '0',
      LIVEKIT_MODE: 'on_join',
      ...(!limited && unlimited),
      ...(storage !== undefined && { STORAGE_URL: storage }),
    });
    const livekit = { mode: 'on_join', serverUrl: livekitUrl, apiKey: key, apiSecret: secret } as const;
    gateway = await startGateway({ config, livekit, log: makeLog(config.logging.level) });
    return { port: Number(new URL(gateway.url).port) };
  },
  holds: () => gateway?.holds(),
});
