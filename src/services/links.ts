import { Close, type CloseReason } from '../../protocol/close.ts';
import type { Command } from '../../protocol/events.ts';
import type { Outbound, Reply } from './outbound.ts';

/** What became of an offer on its way: `sent` is answered later, by a frame; `unsure`: the service may have taken it all the same. */
export type Delivery =
  | { outcome: 'sent' }
  | { outcome: 'accepted' }
  | { outcome: 'refused'; error: string; unsure?: boolean; retry_after_ms?: number };

/** How a service is reached. */
export interface Link {
  offer(command: Command<'JoinRoomRequest'>): Promise<Delivery>;
  /** Told once, and not waited for. */
  leave(command: Command<'LeaveRoomRequest'>): void;
  /** Told once, and not waited for. */
  presence(command: Command<'ClientPresence'>): void;
  /** Another registration has taken its place. */
  replaced(): void;
  /** Whether leaving is answered by ServiceLeft; where it is not, a service that was told has left. */
  readonly saysLeft: boolean;
}

/** A socket, as a service is reached over it. */
export interface ServicePeer {
  /** Queues a command; false: it cannot be sent any more. */
  send(command: Command): boolean;
  close(reason: CloseReason): void;
}

export const socketLink = (peer: ServicePeer): Link => ({
  offer: async (command) => (peer.send(command) ? { outcome: 'sent' } : { outcome: 'refused', error: 'the offer could not be sent' }),
  leave: (command) => void peer.send(command),
  presence: (command) => void peer.send(command),
  replaced: () => peer.close(Close.TakenOver),
  saysLeft: true,
});

/** A service has this long to accept. */
const offerMs = 10_000;
const leaveMs = 3_000;
const presenceMs = 3_000;

/** Where below its endpoint a service takes what. */
export interface EndpointPaths {
  join: string;
  leave: string;
  presence: string;
  health: string;
}

export const at = (endpoint: string, path: string) => endpoint.replace(/\/$/, '') + path;

export const httpLink = (endpoint: string, paths: EndpointPaths, outbound: Outbound): Link => ({
  async offer({ type: _, ...fields }) {
    return delivery(await outbound.post(at(endpoint, paths.join), fields, offerMs), endpoint);
  },
  leave({ type: _, ...fields }) {
    void outbound.post(at(endpoint, paths.leave), fields, leaveMs);
  },
  presence({ type: _, ...fields }) {
    void outbound.post(at(endpoint, paths.presence), fields, presenceMs);
  },
  replaced() {},
  saysLeft: false,
});

function delivery(reply: Reply, endpoint: string): Delivery {
  if ('error' in reply) return { outcome: 'refused', error: `Microservice communication error: ${endpoint}: ${reply.error}`, unsure: true };
  const { status, headers } = reply;
  const body = (reply.body ?? {}) as { accepted?: unknown; reason?: unknown; retry_after_ms?: unknown };
  const reason = typeof body.reason === 'string' ? body.reason.slice(0, 400) : undefined;
  if (status >= 200 && status < 300) {
    if (body.accepted !== false) return { outcome: 'accepted' };
    const retry =
      typeof body.retry_after_ms === 'number' && body.retry_after_ms >= 0 ? { retry_after_ms: Math.min(body.retry_after_ms, 600_000) } : {};
    return { outcome: 'refused', error: reason ?? 'the service declined', ...retry };
  }
  const seconds = Number(headers['retry-after']);
  const retry = headers['retry-after'] !== undefined && seconds >= 0 ? { retry_after_ms: Math.min(seconds * 1_000, 600_000) } : {};
  if (status === 409 || status === 429 || status === 503)
    return { outcome: 'refused', error: reason ?? `the service declined (${status})`, ...retry };
  return { outcome: 'refused', error: `Microservice communication error: ${endpoint} answered ${status}` };
}
