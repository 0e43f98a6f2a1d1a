import type { LogEvent } from '../../protocol/events.ts';
import type { ShareRole, Visibility } from '../../protocol/states.ts';

/** What a client asked for. Each has a number of its own in what it writes, so that one that comes twice is seen. */
export type Wish =
  | { do: 'say'; content: string; message_id?: string }
  | { do: 'set'; key: string; value: number }
  | { do: 'extend'; ttl_hours: number }
  | { do: 'share'; user: string; role: ShareRole }
  | { do: 'unshare'; user: string }
  | { do: 'read' };

// biome-ignore lint/suspicious/noExplicitAny: an answer is what came
export type Answer = Record<string, any>;

/** A command as its client saw it, in the order of the calls. */
export interface Command {
  wish: Wish;
  /** What the call gave; absent: nothing yet. */
  answer?: Answer | undefined;
  /** What the call threw. */
  error?: string | undefined;
}

/** One socket as it was seen from the client's side of the network. */
export interface Wire {
  /** Requests that went out, in order. */
  sent: { id: string; text: string }[];
  /** Everything that came, in order: events by their place, and what tells where they begin and end. */
  came: WireFrame[];
}
export type WireFrame =
  | { what: 'opened'; seq: number }
  | { what: 'resumed'; from: number; recovered: boolean; asked: number }
  | { what: 'complete'; seq: number }
  | { what: 'event'; seq: number }
  | { what: 'answer'; id: string; text: string };

/** What one client did and was told. */
export interface ClientHistory {
  name: string;
  /** The place in the log that the session's opening reflects. */
  openedSeq: number;
  commands: Command[];
  /** Events in the order in which its handlers were called. */
  delivered: LogEvent[];
  /** Told with `recovered` false: from this place to that none came. */
  gaps: { from: number; to: number }[];
  wires: Wire[];
}

/** What the gateway holds in the end. */
export interface Truth {
  /** From the first event to the last. */
  log: LogEvent[];
  /** In the order of the storage. */
  messages: { message_id: string; seq: number; content: string }[];
  context: Record<string, unknown>;
  shares: Record<string, ShareRole>;
  visibility: Visibility;
  expires_at: number;
}

/** What somebody else wrote into the session: contents of messages, and how often it changed the metadata. */
export interface Writing {
  said: string[];
  changes: number;
}
