// `npm run demo`: a whole session in one terminal, with a gateway, three services and a client.
import { connect } from '../src/client/client.ts';
import { loadConfig } from '../src/config-load.ts';
import { startGateway } from '../src/gateway.ts';
import { makeLog } from '../src/log/log.ts';
import { findLiveKit } from '../src/rooms/find.ts';
import { startService } from './demo/service.ts';

const began = performance.now();
const say = (who: string, what: string) =>
  console.log(`${String(Math.round(performance.now() - began)).padStart(6)} ms  ${who.padEnd(8)}  ${what}`);

// the parts: a gateway on a free port, and the LiveKit that `npm start` would use
const config = loadConfig({ ...process.env, SERVER_PORT: '0' });
const { server_url, api_key, api_secret, mode } = config.livekit;
const livekit = await findLiveKit({ serverUrl: server_url, apiKey: api_key, apiSecret: api_secret, mode });
say('demo', livekit.said);
const gateway = await startGateway({ config, livekit, log: makeLog('silent') });
const url = `${gateway.url.replace(/^http/, 'ws')}/ws`;
say('gateway', `listens at ${url}`);

/** Ends whatever runs, once. */
let ending = false;
async function end(code: number): Promise<void> {
  if (ending) return;
  ending = true;
  await gateway.close();
  await livekit.stop();
  // the media engine keeps its own threads
  process.exit(code);
}
process.on('SIGINT', () => void end(130));
process.on('SIGTERM', () => void end(143));
// whatever hangs, the demo ends
setTimeout(() => {
  say('demo', 'did not finish within 60 s');
  void end(1);
}, 60_000).unref();

async function demo(): Promise<void> {
  // without this the media engine's debug lines stand between ours
  process.env.NODE_ENV ??= 'production';
  // loaded only where there is a room to join
  const rtc = livekit.mode === 'create' ? await import('@livekit/rtc-node') : undefined;
  if (!rtc) say('demo', 'this part is left out: without LiveKit nobody joins a room and no data flows');

  const services = await Promise.all(
    [
      { id: 'asr', hears: 'speech', says: 'text', work: (speech: string) => speech.replace(/[♪()]/g, '').trim() },
      { id: 'llm', hears: 'text', says: 'reply', work: (text: string) => `Nice to meet you! You said: ${text}` },
      { id: 'tts', hears: 'reply', says: 'voice', work: (reply: string) => `♪ ${reply} ♪` },
    ].map((service) => startService({ ...service, gateway: url, rtc, onStep: (step) => say(service.id, step) })),
  );

  const client = connect(url);
  say('client', 'asks for a session');
  const session = await client.newSession({ user_identity: 'ada', required_services: ['asr', 'llm', 'tts'] });
  session.on('SessionStatusChanged', ({ from, to }) => say('gateway', `session: ${from} -> ${to}`));
  session.on('ServiceStatusChanged', ({ service_id, status }) => say('gateway', `${service_id}: ${status}`));
  const active = new Promise((done) => session.on('SessionActive', done));
  const join = await session.ready();
  say('client', `may join ${join.room_name}`);

  if (rtc) {
    const room = new rtc.Room();
    const answered = new Promise<string>((heard) => {
      room.on(rtc.RoomEvent.DataReceived, (data, _from, _kind, topic) => {
        if (topic === 'voice') heard(new TextDecoder().decode(data));
      });
    });
    await room.connect(join.livekit_url, join.access_token, { autoSubscribe: true, dynacast: false });
    say('client', 'joined the room');
    const speech = '♪ (Hello, I am Ada) ♪';
    say('client', `says "${speech}"`);
    await room.localParticipant?.publishData(new TextEncoder().encode(speech), { reliable: true, topic: 'speech' });
    say('client', `hears "${await answered}"`);
    await active;
    await room.disconnect();
    say('client', 'left the room');
  }

  const { reason, duration_s } = await session.end();
  say('gateway', `the session ended (${reason}) after ${duration_s} s`);
  await client.close();
  await Promise.all(services.map((service) => service.close()));
}

await demo().then(
  () => end(0),
  (error) => {
    say('demo', `failed: ${error.message}`);
    return end(1);
  },
);
