import { GatewayError } from '../errors.ts';
import { bytesOf, jsonBytesOf, readPage } from '../sessions/pages.ts';
import { type Instance, matches, type Registry } from './registry.ts';

/** What a page holds at most, as JSON, beyond its first item: so that 1,024 services of ordinary size are one page, made within a few ms. */
const maxPageBytes = 524_288;

/** What else an entry consists of, field names, numbers and words: at most about 190 bytes, and some to spare, so that no page is larger than was counted. */
const fixedBytes = 220;

const sizeOfService = ({ service_id, endpoint, metadata }: Instance) =>
  fixedBytes + bytesOf(service_id) + bytesOf(endpoint?.url) + jsonBytesOf(metadata);

interface ListWish {
  /** Only those whose metadata has this type. */
  type?: string | undefined;
  limit: number;
  cursor?: string | undefined;
}

/** The registered services, a page at a time. `subject`: only those that this credential registered. @throws GatewayError VALIDATION_FAILED */
export async function listServices(registry: Registry, { type, limit, cursor }: ListWish, subject?: string) {
  const start = cursor === undefined ? undefined : listKeyOf(cursor);
  const fits = (instance: Instance) =>
    (type === undefined || matches(instance, { type })) && (subject === undefined || instance.subject === subject);
  const { items, more } = await readPage<Instance>({
    limit,
    maxBytes: maxPageBytes,
    sizeOf: sizeOfService,
    read: async (last, count) => registry.after(last?.listKey ?? start, count, fits),
  });
  const last = items.at(-1);
  return { items, ...(more && last && { next_cursor: Buffer.from(last.listKey).toString('base64url') }) };
}

function listKeyOf(cursor: string): string {
  const listKey = Buffer.from(cursor, 'base64url').toString();
  if (!/^[0-9a-f-]{36}$/.test(listKey)) throw new GatewayError('VALIDATION_FAILED', 'cursor: invalid');
  return listKey;
}
