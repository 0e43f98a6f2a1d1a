/** Of the LiveKit that gateways under test use. */
export const liveKitSecret = 'a-secret-of-at-least-32-characters';
/** Of the PostgreSQL that tests start. */
export const storagePassword = 'a-password-that-only-tests-know';

/** As patterns; the first is how secrets of gateway keys are called in tests, and the one of LiveKit. */
const known = ['a-secret-(?:of|that)-', storagePassword];
/** In a line of the log also what only looks like a secret: a token, signed or of rooms in memory, and what stands by a secret's name. */
const inLog = [/eyJ[\w-]+\.eyJ/, /-token-of-/, /"(?:access_token|resume_token|token|secret|password|authorization)":"(?!\[Redacted\])/];
let anywhere = new RegExp(known.join('|'));
let inLines = new RegExp([...known, ...inLog.map(({ source }) => source)].join('|'));

/** One more secret, which from now on may stand nowhere. Only letters, digits and dashes. @returns it */
export function canary(secret: string): string {
  known.push(secret);
  anywhere = new RegExp(`${anywhere.source}|${secret}`);
  inLines = new RegExp(`${inLines.source}|${secret}`);
  return secret;
}

/** Where in a text a secret stands: what comes before it. `undefined`: none does. */
export function leakIn(text: string): string | undefined {
  const found = (text.startsWith('{"level"') ? inLines : anywhere).exec(text);
  return found ? `${text.slice(Math.max(0, found.index - 200), found.index + 8)}...` : undefined;
}

const leaks: string[] = [];
/** Who is running, for what is found. */
export const running = { test: '' };

/** Looks through what a gateway under test wrote or answered; whatever is found fails the test. */
export function watch(text: string): void {
  const leak = leakIn(text);
  if (leak !== undefined) leaks.push(`in "${running.test}": ${leak}`);
}

/** What was found since it was last asked for. */
export const leaked = (): string[] => leaks.splice(0);
