import { Close, type CloseReason } from '../../protocol/close.ts';
import type { Command } from '../../protocol/commands.ts';
import { type Link, offerMs } from './links.ts';

/** A socket, as a service is reached over it. */
export interface ServicePeer {
  /** Queues a command; false: it is too late to send it. */
  send(command: Command): boolean;
  close(reason: CloseReason): void;
}

export const socketLink = (peer: ServicePeer): Link => ({
  offerMs,
  offer: async (command) =>
    peer.send(command) ? { outcome: 'sent' } : { outcome: 'refused', reason: 'lost', error: 'the offer could not be sent' },
  send: (command) => void peer.send(command),
  replaced: () => peer.close(Close.TakenOver),
  saysLeft: true,
});
