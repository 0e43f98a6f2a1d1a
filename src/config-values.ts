import { BlockList } from 'node:net';
import { z } from 'zod';
import { isPercentEncoded, percentRule } from '../protocol/fields.ts';
import { addNetwork } from './addresses.ts';

/** Text that is a number counts as one; what is merely empty or true does not. */
const toNumber = (value: unknown) => (typeof value === 'string' && /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value);

export const number = (min: number, max: number) => z.preprocess(toNumber, z.number().min(min).max(max));
export const seconds = number;
export const count = (min: number, max = Number.MAX_SAFE_INTEGER) => z.preprocess(toNumber, z.number().int().min(min).max(max));
export const port = count(0, 65_535);
export const yes = z.union([z.boolean(), z.stringbool()], { error: 'must be true or false' });
export const path = z.string().regex(/^\/[\w./-]*$/, 'must be a path that starts with /');

const toItems = (value: unknown) =>
  typeof value === 'string'
    ? value
        .split(',')
        .map((item) => item.trim())
        .filter(Boolean)
    : value;
export const listOf = <T extends z.ZodType>(item: T) =>
  z.preprocess(toItems, z.array(item, { error: (issue) => (issue.code === 'invalid_type' ? 'must be a list' : undefined) }));
export const list = listOf(z.string());

/** A list of tables, as in [[auth.keys]]. Files alone have them: no variable and no flag sets one. */
export const tables = <T extends z.ZodRawShape>(item: T) => z.array(z.strictObject(item), { error: 'must be tables' }).optional();

/** The fields of each table of such a list; undefined: the schema is of one value. */
export function fieldsOf(schema: z.ZodType): Readonly<Record<string, z.ZodType>> | undefined {
  const list = schema instanceof z.ZodOptional ? schema.unwrap() : schema;
  const item = list instanceof z.ZodArray ? list.element : undefined;
  return item instanceof z.ZodObject ? (item.shape as Record<string, z.ZodType>) : undefined;
}

const secondsOf: Record<string, number> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** A time with its unit, in seconds: 90s, 15m, 24h, 30d. A number alone counts seconds. */
export const duration = (min: number, max: number) =>
  z.preprocess(
    (value) => {
      const [, amount, unit = 's'] = typeof value === 'string' ? (/^(\d+)([smhd])?$/.exec(value) ?? []) : [];
      return amount === undefined ? value : Number(amount) * (secondsOf[unit] ?? 1);
    },
    z.number({ error: 'must be a time: 90s, 15m, 24h, 30d' }).min(min).max(max),
  );

/** An address to listen on; an IPv6 one may stand in brackets, as in a URL. */
export const host = z
  .string()
  .min(1)
  .regex(/^(\[[^\]]*\]|[^\s/[\]]+)$/, 'must be an address or a host name, without scheme and port')
  .overwrite((text) => text.replace(/^\[(.*)\]$/, '$1').toLowerCase());

/** An origin as a browser sends it: in lower case, without a path and the usual port of its scheme. @returns undefined: no page has such an origin */
export function originOf(text: string): string | undefined {
  if (text === 'null') return text;
  const [, scheme = '', host = ''] = /^([a-z][a-z0-9+.-]*):\/\/([^/?#@*;\s"']*)\/?$/i.exec(text) ?? [];
  if (/^https?$/i.test(scheme)) return URL.canParse(text) ? new URL(text).origin : undefined;
  // apps have their own schemes (capacitor://localhost), pages of files have no host; sockets are no pages
  return scheme === '' || /^wss?$/i.test(scheme) ? undefined : `${scheme}://${host}`.toLowerCase();
}

const origin = z
  .string()
  .refine((text) => originOf(text) !== undefined, {
    error: ({ input }) =>
      String(input).includes('*')
        ? `${input} allows no page: origins are compared as a whole; list each of them`
        : `${input} is not an origin: write scheme, host and port, as in https://app.example.com; separate several with commas`,
  })
  .overwrite((text) => originOf(text) ?? text);
export const origins = listOf(origin);

/** Names as they stand in a Host header, without a port. */
export const hostNames = listOf(
  z
    .string()
    .regex(/^[\w-]+(\.[\w-]+)*\.?$/, 'must be host names, without scheme, port, path and *; separate several with commas')
    .overwrite((text) => text.toLowerCase()),
);

export const networks = listOf(
  z.string().refine((text) => addNetwork(new BlockList(), text) === undefined, {
    error: ({ input }) => `${input} ${addNetwork(new BlockList(), String(input))}; separate several with commas`,
  }),
);

const parsed = (text: string) => (URL.canParse(text) ? new URL(text) : undefined);
/** Where a client reaches LiveKit; it may be below a path. */
export const liveKitUrl = z
  .url({ protocol: /^(wss?|https?)$/, error: 'must be a ws, wss, http or https URL' })
  .refine(
    (text) => !parsed(text)?.username && !parsed(text)?.password,
    'must not contain a user name or password: clients are given this address',
  )
  .refine((text) => !/[?#]/.test(text), 'must not contain ? or #')
  .refine(isPercentEncoded, percentRule);
/** Where the gateway reaches LiveKit's API. */
export const liveKitServerUrl = liveKitUrl.refine(
  (text) => (parsed(text)?.pathname ?? '/') === '/',
  'must not contain a path, which LiveKit’s API does not use; an address for clients with a path goes into livekit.public_url',
);

/** A key of LiveKit's API, or its secret. */
export const apiKey = z.string().min(1).regex(/^\S*$/, 'contains white space, which no key or secret has: was more pasted than one line?');

/**
 * A value without white space around it, which a file's end or Windows' line ends leave there.
 * @returns what is wrong with it, in words that hold nothing of it
 */
export function plainText(value: string): { text: string } | { fault: string } {
  const text = value.trim();
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(text)) return { fault: 'contains a line break or another control character' };
  if (/^(["']).*\1$/.test(text)) return { fault: 'has quotes around it, which would count as part of the value: remove them' };
  if (/^\[\s*(["'].*)?\]$/.test(text)) return { fault: 'is a JSON list: write the items separated by commas, without brackets and quotes' };
  return { text };
}
