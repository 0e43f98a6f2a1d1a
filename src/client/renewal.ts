import { RequestFailed } from './errors.ts';
import { newId } from './id.ts';
import type { Credential } from './token.ts';

/** The gateway announces an end that is less than a minute ahead at once: short-lived tokens would be renewed without a pause. */
const pauseMs = 10_000;

interface RenewalPort {
  send(text: string): void;
  /** The connection lives on until its token ends; the next one asks again. */
  failed(error: Error): void;
}

/**
 * Extends one open connection whose token expires by a new one.
 * @returns takes a frame of this connection; false: it is not about that
 */
export function renewalOf(credential: Credential, port: RenewalPort): (frame: Readonly<Record<string, unknown>>) => boolean {
  let id: string | undefined;
  let sentAt = Number.NEGATIVE_INFINITY;
  const renew = async () => {
    try {
      const token = await credential.ask();
      id = newId();
      sentAt = performance.now();
      port.send(JSON.stringify({ type: 'IdentifyRequest', id, token }));
    } catch (error) {
      port.failed(error as Error);
    }
  };
  return (frame) => {
    if (frame.type === 'CredentialExpiring' && credential.canChange && performance.now() - sentAt >= pauseMs) void renew();
    if (id === undefined || frame.id !== id) return false;
    if (frame.type === 'Error') port.failed(new RequestFailed(frame));
    return true;
  };
}
