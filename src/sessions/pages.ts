import type { Message } from './ports.ts';
import { labelOf, nameOf, type Session } from './record.ts';

/** What a page holds at most, as JSON, beyond its first item: a page is one frame, and some clients take no larger ones. */
export const maxPageBytes = 32_768;

/** Read at first; how many more is known by the size of these. */
const firstRead = 16;

interface PageWish<T> {
  limit: number;
  maxBytes: number;
  /** So many that follow the last one read. */
  read(last: T | undefined, count: number): Promise<readonly T[]>;
  sizeOf(item: T): number;
}

/** As many items as were asked for and fit, at least one. Reads little more of the storage than that. */
export async function readPage<T>({ limit, maxBytes, read, sizeOf }: PageWish<T>): Promise<{ items: T[]; bytes: number; more: boolean }> {
  const items: T[] = [];
  let bytes = 0;
  for (let count = Math.min(limit + 1, firstRead); ; ) {
    const found = await read(items.at(-1), count);
    for (const item of found) {
      const size = sizeOf(item);
      // one more than asked for says that there is more
      if (items.length === limit || (items.length > 0 && bytes + size > maxBytes)) return { items, bytes, more: true };
      items.push(item);
      bytes += size;
    }
    if (found.length < count) return { items, bytes, more: false };
    const fitting = Math.ceil((maxBytes - bytes) / (bytes / items.length));
    count = Math.min(limit - items.length, Math.max(0, fitting)) + 1;
  }
}

/** Context, metadata and shares are replaced when they change, so that each is measured once. */
const sizes = new WeakMap<object, number>();

/** Bytes of a part of a record as JSON. */
export function jsonBytesOf(part: object): number {
  let size = sizes.get(part);
  if (size === undefined) {
    size = Buffer.byteLength(JSON.stringify(part));
    sizes.set(part, size);
  }
  return size;
}

/** The names of the fields, the times, ids and marks around what is measured. */
const fixedBytes = { session: 800, service: 180, participant: 90 };

/** Bytes of a text in UTF-8; 0: there is none. */
export const bytesOf = (text: string | undefined) => (text === undefined ? 0 : Buffer.byteLength(text));

/** About the bytes of a session as it is shown, without its context. */
export function sizeOfSession({
  owner_id,
  user_identity,
  room,
  workspace_dir,
  metadata,
  shares,
  requirements,
  participants,
}: Session): number {
  let size =
    fixedBytes.session + bytesOf(owner_id) + bytesOf(user_identity) + bytesOf(workspace_dir) + jsonBytesOf(metadata) + jsonBytesOf(shares);
  if (room) size += bytesOf(labelOf(room)) + bytesOf(room.name) + bytesOf(room.livekit_url);
  // each stands in two lists
  for (const requirement of requirements) size += fixedBytes.service + 2 * bytesOf(nameOf(requirement)) + bytesOf(requirement.error);
  for (const { identity } of participants) size += fixedBytes.participant + bytesOf(identity);
  return size;
}

/** Bytes of a message as it is kept, a little more than what is shown of it. */
export const sizeOfMessage = (message: Message): number => Buffer.byteLength(JSON.stringify(message));
