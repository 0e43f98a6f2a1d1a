import type { CommandType } from '../../protocol/commands.ts';
import { faults } from '../sessions/readiness.ts';
import type { LinkMaker } from './link-by-scheme.ts';
import { below, type Delivery, type EndpointPaths, httpCommands, type Link, offerMs } from './links.ts';
import type { Calls, Outbound, Reply } from './outbound.ts';

/** A health check that is not answered by then has failed: before the next one, 10 s later, is due. */
const probeMs = 5_000;

/** How services are called over HTTP. */
export const httpLinks = (paths: EndpointPaths, outbound: Outbound): LinkMaker => ({
  refusal: (endpoint) => outbound.refusal(endpoint),
  link: (endpoint) => httpLink(endpoint, paths, outbound),
});

function httpLink(endpoint: string, paths: EndpointPaths, outbound: Outbound): Link {
  const calls: Calls = outbound.calls(endpoint);
  const urlOf = (type: CommandType) => below(endpoint, paths[httpCommands[type].setting]);
  return {
    endpoint: {
      url: endpoint,
      answers: async () => !('error' in (await outbound.get(below(endpoint, paths.health_path), probeMs))),
      link: () => httpLink(endpoint, paths, outbound),
    },
    offerMs,
    async offer({ type, ...fields }, over) {
      const reply = await calls.request(urlOf(type), fields, httpCommands[type].timeoutMs, over);
      return over?.aborted ? { outcome: 'aborted' } : delivery(reply, endpoint);
    },
    send({ type, ...fields }) {
      void calls.notify(urlOf(type), fields, httpCommands[type].timeoutMs);
    },
    replaced() {},
    saysLeft: false,
  };
}

type Answer = Exclude<Reply, { error: string }>;

/** The longest pause a service may ask for, as in JoinRoomResponse. */
const maxPauseMs = 600_000;
const pause = (ms: unknown) => (typeof ms === 'number' && ms >= 0 ? { retry_after_ms: Math.min(ms, maxPauseMs) } : {});
const noAnswer = { ...faults.noAnswer, unsure: true } as const;

/** What Retry-After asks for: seconds, or a date of the clock that the answer's own Date is of (RFC 9110, 10.2.3). */
function askedPause({ date, 'retry-after': asked }: Answer['headers']) {
  if (asked === undefined) return {};
  const text = String(asked);
  if (!/^[a-z]/i.test(text)) return pause(Number(text) * 1_000);
  const now = Date.parse(String(date));
  // the oldest form of a date names no zone
  const then = Date.parse(/GMT$/.test(text) ? text : `${text} GMT`);
  return pause(then - (Number.isNaN(now) ? Date.now() : now));
}

/** What an answer to an offer means. Its status and text are for the operator: an endpoint may lead anywhere. */
function delivery(reply: Reply, endpoint: string): Delivery {
  if ('error' in reply) return { outcome: 'refused', ...noAnswer, unsure: !reply.isUnsent, detail: `${endpoint}: ${reply.error}` };
  const { status, headers, text } = reply;
  const body = fieldsOf(text);
  const said = typeof body?.reason === 'string' ? body.reason.slice(0, 400) : undefined;
  const refusal = { reason: 'declined', error: said ?? 'the service declined', isSaid: said !== undefined } as const;
  if (status >= 200 && status < 300) {
    if (text === '' || (body && (body.accepted === undefined || body.accepted === true))) return { outcome: 'accepted' };
    if (body?.accepted === false) return { outcome: 'refused', ...refusal, ...pause(body.retry_after_ms) };
    // what cannot be read is no consent
    const error = 'the answer of the service could not be read';
    return { outcome: 'refused', ...noAnswer, error, detail: `${endpoint} answered ${status}: ${whyUnread(reply)}` };
  }
  const detail = `${endpoint} answered ${status}`;
  if (status === 409 || status === 429 || status === 503) {
    return { outcome: 'refused', ...refusal, ...askedPause(headers), detail };
  }
  return { outcome: 'refused', reason: 'failed', error: 'the service refused the offer', detail };
}

/** The fields of a JSON object; undefined: it is none. */
function fieldsOf(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

const whyUnread = ({ headers, text }: Answer) =>
  headers['content-encoding'] !== undefined
    ? `content-encoding ${headers['content-encoding']} was not asked for`
    : fieldsOf(text)
      ? 'accepted is neither true nor false'
      : 'the body is not a JSON object';
