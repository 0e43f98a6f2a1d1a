import { Hono } from 'hono';
import type { Logger } from 'pino';
import { v7 as uuid } from 'uuid';
import { GatewayError } from '../sessions/errors.ts';
import type { Sessions } from '../sessions/manager.ts';
import type { Clock } from '../sessions/ports.ts';
import { snapshot } from '../sessions/snapshot.ts';

/** What `/ready` says of the parts. */
export interface Readiness {
  ready: boolean;
  draining: boolean;
  livekit: { mode: 'create' | 'on_join'; url: string; reachable: boolean };
  storage: { type: string; reachable: boolean };
  sockets: number;
  live_sessions: number;
}

export interface RoutesParts {
  sessions: Sessions;
  clock: Clock;
  log: Logger;
  version: string;
  readiness(): Promise<Readiness>;
}

/** The REST edge. */
export function routes({ sessions, clock, log, version, readiness }: RoutesParts): Hono {
  const app = new Hono();
  const timestamp = () => new Date(clock.now()).toISOString();

  app.get('/health', (c) => c.json({ status: 'healthy', timestamp: timestamp(), version }));
  app.get('/ready', async (c) => {
    const state = await readiness();
    return c.json(state, state.ready ? 200 : 503);
  });
  app.get('/api/v1/sessions/:id', async (c) => c.json(snapshot(await sessions.get(c.req.param('id')))));

  app.notFound((c) => {
    const error = new GatewayError('NOT_FOUND', `there is nothing at ${c.req.method} ${c.req.path.slice(0, 200)}`);
    return c.json(error.body(clock.now()), 404);
  });
  app.onError((err, c) => {
    if (err instanceof GatewayError) return c.json(err.body(clock.now()), err.status as 400);
    const errorId = uuid();
    log.error({ err, errorId, path: c.req.path }, 'http request failed');
    return c.json(new GatewayError('INTERNAL', 'Internal error', { details: { error_id: errorId } }).body(clock.now()), 500);
  });
  return app;
}
