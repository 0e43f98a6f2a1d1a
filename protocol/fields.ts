import { z } from 'zod';

// NUL and lone surrogates pass JSON.parse, but not every store: refused here, so that all stores agree
const wellFormed = (text: string) => text.isWellFormed() && !text.includes('\0');
const wellFormedRule = 'must not contain NUL or half a surrogate pair';
/** As much of it as every language's regular expressions can say; those of the published schemas are written for all of them. */
const wellFormedPattern = '^[^\\x00]*$';

/** The first `max` characters, and no half of one. */
export const clip = (text: string, max: number) => text.slice(0, max).toWellFormed();

/** Text that every store and every peer can hold. */
export const text = (max: number, min = 0) =>
  z.string().min(min).max(max).refine(wellFormed, wellFormedRule).meta({ pattern: wellFormedPattern });

/** Names a schema that is used in many places, for those who generate code. */
export const titled = (title: string, schema: z.ZodType): void => void z.globalRegistry.add(schema, { ...schema.meta(), title });

/** One of these words, to which later gateways may add. */
export const word = <const T extends readonly [string, ...string[]]>(words: T) => z.enum(words).meta({ mayGrow: true });

export const requestId = text(64, 1).describe('Chosen by the sender; echoed in the one answer');
export const sessionId = text(64, 1).describe('The session');
export const assignmentId = text(64, 1).describe('The assignment of one service to one session');
/** What LiveKit takes of a name, in bytes. */
const livekitBytes = 256;
/** A chosen room name is given a suffix of nine letters there. */
export const roomSuffixBytes = 9;
const encoder = new TextEncoder();
const name = (maxBytes: number) =>
  text(128, 1).refine(
    (given) => given.length * 3 <= maxBytes || encoder.encode(given).length <= maxBytes,
    `must be at most ${maxBytes} bytes in UTF-8`,
  );
export const identity = name(livekitBytes);
export const roomName = name(livekitBytes - roomSuffixBytes);
export const serviceId = identity.describe("The service's id, which is also its identity in the room");
/** What a service must be like: each of these metadata keys has this value. */
export const selector = z
  .record(text(128, 1), text(1_024, 1))
  .refine((map) => Object.keys(map).length >= 1 && Object.keys(map).length <= 8, 'must have 1 to 8 keys')
  .describe('Metadata a service must have, as in {"type":"ASR"}')
  // with its own field it is a class to code generators
  .meta({ title: 'Selector', properties: { type: { type: 'string', description: 'What the service does, for example ASR' } } });
export const wanted = z
  .union([serviceId, selector])
  .describe('The id of a service, or the metadata it must have')
  .meta({ title: 'WantedService' });
export type Wanted = z.output<typeof wanted>;
/** Any JSON whose texts every store can hold. Its depth is limited where it is parsed. */
export const json = z.unknown().refine(isStorable, wellFormedRule);
function isStorable(value: unknown): boolean {
  if (typeof value === 'string') return wellFormed(value);
  if (typeof value !== 'object' || value === null) return true;
  if (Array.isArray(value)) return value.every(isStorable);
  // a list of entries would cost more than the look at them
  for (const key in value) if (!wellFormed(key) || !isStorable((value as Record<string, unknown>)[key])) return false;
  return true;
}

/** How services can be called that do not connect. src/gateway.ts says how for each. */
export const endpointSchemes = ['http', 'https'] as const;
export type EndpointScheme = (typeof endpointSchemes)[number];
export const httpUrl = z
  .url({ protocol: new RegExp(`^(${endpointSchemes.join('|')})$`), error: `must be an ${endpointSchemes.join(' or ')} URL` })
  .max(2_048)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be in it
  .refine((url) => !/[\u0000-\u001f\u007f]/.test(url), 'must not contain control characters')
  .refine((url) => !/^https?:\/\/[^/?#]*@/.test(url), 'must not contain a user name or password');
/** Whether each % is followed by the two digits of a byte. */
export const isPercentEncoded = (url: string) => !/%(?![0-9a-f]{2})/i.test(url);
export const percentRule = 'has a % that is not followed by two hexadecimal digits; write % as %25';
const pathOf = (url: string) => /^[^:]*:\/\/[^/\\]*(.*)$/s.exec(url)?.[1] ?? '';
const encodedDots = /(^|[\\/])(\.|%2e){1,2}(?=[\\/]|$)/i;

/** Where a service is reached over HTTP. Paths are appended to it, so that it ends with its own. */
export const endpointUrl = httpUrl
  .refine((url) => !/[?#]/.test(url), 'must have no query (?) and no fragment (#): what the service needs to know goes into the path')
  .refine((url) => !/[\\\s]/.test(url) && !encodedDots.test(pathOf(url)), 'must not contain dot segments, backslashes or spaces')
  .refine(isPercentEncoded, percentRule)
  .meta({ pattern: '^[^?#]*$' });

export const time = z.iso.datetime().describe('ISO-8601, UTC');
export const milliseconds = z.number().int().min(0);

const scalar = z.union([text(1_024), z.number(), z.boolean()]).transform(String);
export const maxMetadataKeys = 64;
/** Keys that every store can hold. */
export const storableKeys = (map: object) => Object.keys(map).every((key) => key !== '' && !isLonger(key, 128) && wellFormed(key));
/** As zod's `max`: in code points. */
const isLonger = (text: string, max: number) => text.length > max && [...text].length > max;
export const keyRule = 'keys must have 1 to 128 characters, and must not contain NUL or half a surrogate pair';

/** A map of strings on the wire of which numbers and booleans are taken as well. */
export const labels = z
  .record(text(128, 1), scalar)
  .refine((map) => Object.keys(map).length <= maxMetadataKeys, `must have at most ${maxMetadataKeys} keys`);

/** What the metadata may weigh as JSON: it is sent to each service, and a peer takes frames of 256 KiB. */
export const maxMetadataBytes = 65_536;
/** The same of a service: lists hold it. */
export const maxServiceMetadataBytes = 16_384;
export const isLight = (map: object, maxBytes: number) => {
  let characters = 0;
  for (const [key, value] of Object.entries(map)) characters += key.length + (typeof value === 'string' ? value.length : 32);
  // each is six bytes at most
  return characters * 6 <= maxBytes || new TextEncoder().encode(JSON.stringify(map)).length <= maxBytes;
};

export const metadata = z
  .object({
    tags: z.array(text(64, 1)).max(32).optional().describe('Labels for finding sessions'),
    duration_limit: z
      .union([
        z.number().int().min(1).max(31_536_000),
        z
          .string()
          .regex(/^[1-9][0-9]{0,7}$/, { abort: true, error: 'must be a whole number of seconds, at least 1' })
          .refine((seconds) => Number(seconds) <= 31_536_000, 'must be at most 31536000'),
      ])
      .transform(String)
      .optional()
      .describe('Seconds the session may last, as a number or a string'),
  })
  .catchall(scalar)
  .refine(storableKeys, keyRule)
  .refine((map) => Object.keys(map).length <= maxMetadataKeys, `must have at most ${maxMetadataKeys} keys`)
  .refine((map) => isLight(map, maxMetadataBytes), `must have at most ${maxMetadataBytes} bytes as JSON`)
  .describe('Describes the session; values are stored as strings')
  .meta({ title: 'SessionMetadata' });
export type Metadata = z.output<typeof metadata>;
