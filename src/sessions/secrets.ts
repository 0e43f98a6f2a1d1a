/** What stands in the place of a secret. */
export const covered = '[Redacted]';

/** A signed token wherever it stands, as in the text of an error from outside. */
const jwt = /eyJ[\w-]+\.[\w-]*\.?[\w-]*/g;
export const withoutTokens = (text: string) => (text.includes('eyJ') ? text.replace(jwt, covered) : text);
