/** What stands in the place of a secret. */
export const covered = '[Redacted]';

/** A signed token wherever it stands, as in the text of an error from outside. */
const jwt = /eyJ[\w-]+\.[\w-]*\.?[\w-]*/g;
/** The password in an address, with what stands before it. */
const password = /(:\/\/[^\s/?#@:"\\]*:)[^\s/?#"\\]+(?=@)/g;

/** Covers what is a secret by its form, in any text. */
export function safeText(text: string): string {
  const withoutTokens = text.includes('eyJ') ? text.replace(jwt, covered) : text;
  return withoutTokens.includes('://') && withoutTokens.includes('@') ? withoutTokens.replace(password, `$1${covered}`) : withoutTokens;
}

const names = new Set([
  'access_token',
  'resume_token',
  'token',
  'apiSecret',
  'api_secret',
  'secret',
  'password',
  'authorization',
  'sec-websocket-protocol',
  'cookie',
  'x-api-key',
]);

/** Covers what is a secret by its name in what is logged, also below other names and in lists. pino's own redaction with wildcards costs as much as the rest of the line. */
export function withoutSecrets<T extends object>(fields: T, depth = 2): T {
  let copy: T | undefined;
  for (const key in fields) {
    const value = fields[key];
    const isNested = depth > 0 && typeof value === 'object' && value !== null && !(value instanceof Error);
    const safe = names.has(key) ? covered : isNested ? withoutSecrets(value, depth - 1) : value;
    if (safe === value) continue;
    copy ??= (Array.isArray(fields) ? [...fields] : { ...fields }) as T;
    copy[key] = safe as T[typeof key];
  }
  return copy ?? fields;
}
