/** What stands in the place of a secret. */
export const covered = '[Redacted]';

/** A signed token wherever it stands, as in the text of an error from outside. */
const jwt = /eyJ[\w-]+\.[\w-]*\.?[\w-]*/g;
export const withoutTokens = (text: string) => (text.includes('eyJ') ? text.replace(jwt, covered) : text);

const names = new Set(['access_token', 'resume_token', 'token', 'apiSecret', 'api_secret', 'authorization']);

/** Covers secrets in what is logged, also one level down. pino's own redaction with wildcards costs as much as the rest of the line. */
export function withoutSecrets(fields: Record<string, unknown>, depth = 1): Record<string, unknown> {
  let copy: Record<string, unknown> | undefined;
  for (const key in fields) {
    const value = fields[key];
    const isNested = depth > 0 && typeof value === 'object' && value !== null && !(value instanceof Error);
    const safe = names.has(key)
      ? covered
      : typeof value === 'string'
        ? withoutTokens(value)
        : isNested
          ? withoutSecrets(value as Record<string, unknown>, depth - 1)
          : value;
    if (safe !== value) copy = { ...(copy ?? fields), [key]: safe };
  }
  return copy ?? fields;
}
