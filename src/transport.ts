import type { Admission } from './auth/admission.ts';
import type { HandlerParts } from './socket/handlers.ts';

/** What a transport reaches sessions and services by. */
export type TransportParts = HandlerParts & { admit: Admission };

/** One way for peers to reach the gateway, besides REST. None of these may reject. */
export interface Transport {
  /** Refuses new peers, and notifies those that are there of the stop. Their sessions end next: what is sent to them then must still arrive. */
  drain(deadlineMs: number): Promise<void>;
  /** Ends what is open, over all of the time or sooner. Nothing comes in by it from then on. */
  close(withinMs: number): Promise<void>;
}

/** Starts a transport when everything that it reaches runs. */
export type StartTransport = (parts: TransportParts) => Transport | Promise<Transport>;
