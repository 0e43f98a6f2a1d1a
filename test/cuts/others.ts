import { setTimeout as pause } from 'node:timers/promises';
import { type Service, serve } from '../../src/client/service.ts';
import { TestClient } from '../support/client.ts';
import { rest } from '../support/http-service.ts';
import type { Random } from '../support/random.ts';
import { quick } from './actor.ts';
import type { Writing } from './history.ts';

/** Writes into sessions from elsewhere, over a socket and over REST, until `isEnough`. */
export async function write(url: string, ids: readonly string[], random: Random, isEnough: () => boolean): Promise<Map<string, Writing>> {
  const writings = new Map(ids.map((id) => [id, { said: [] as string[], changes: 0 }]));
  const socket = await TestClient.connect(url);
  for (let n = 0; !isEnough(); n++) {
    for (const [id, writing] of writings) {
      if (!random.chance(0.25)) continue;
      if (random.chance(0.85)) {
        const content = `somebody:${n}`;
        const answer = await socket.ask({ type: 'AddMessageRequest', session_id: id, role: 'system', content });
        if (answer.type !== 'AddMessageResponse') throw new Error(`not said: ${JSON.stringify(answer)}`);
        writing.said.push(content);
      } else {
        const { status } = await rest(`${url}/api/v1/sessions/${id}`, 'PATCH', { metadata_updates: { turn: `${n}` } });
        if (status !== 200) throw new Error(`not changed: ${status}`);
        writing.changes += 1;
      }
    }
    await pause(random.int(20, 200));
  }
  return writings;
}

/** A service that comes and goes: it leaves each session after a while, and is asked again. */
export function comeAndGo(url: string, service_id: string, random: Random): Service {
  const service = serve(url, { service_id, ...quick, accept: () => (random.chance(0.1) ? { reason: 'not now' } : undefined) }, (join) => {
    const timer = setTimeout(() => join.leave(random.chance(0.5) ? new Error('enough') : undefined), random.int(100, 3_000));
    join.progress('begun', 50);
    return () => clearTimeout(timer);
  });
  service.registered.catch(() => {});
  service.on('error', () => {});
  return service;
}
