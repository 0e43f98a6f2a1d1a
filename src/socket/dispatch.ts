import type { Answer, Reply, Request, RequestType } from '../../protocol/requests.ts';

/** Returned where the answer goes out when the record changes: no handler waits for LiveKit or a service. */
export const later = Symbol('later');

type OutcomeOf<T extends RequestType> = Reply<T> | typeof later;
/** What a handler returns for any request; void: there is nothing to answer. */
export type Outcome = Answer | typeof later | void;

/** One entry per request; a missing or extra key, a misspelt field and a wrong answer do not compile. */
export type Handlers<Peer> = { [T in RequestType]: (request: Request<T>, peer: Peer) => OutcomeOf<T> | Promise<OutcomeOf<T>> };

/** Hands a request to its handler. The type parameter is what lets the pair compile. */
export const dispatch = <Peer, T extends RequestType>(handlers: Handlers<Peer>, request: Request<T>, peer: Peer) =>
  handlers[request.type](request, peer) as Outcome | Promise<Outcome>;
