import { check, type Issue } from './check.ts';
import type { ErrorCode } from './errors.ts';
import { clip, requestId } from './fields.ts';
import { allMessages } from './messages.ts';
import { nearest } from './nearest.ts';
import { type Request, type RequestRow, requests } from './requests.ts';
import { misspelt, unknownNames } from './unknown-fields.ts';

/** Objects and arrays inside each other. JSON.parse takes 64 KiB of `[`, and what handles its result does not. */
export const maxDepth = 16;
/** Values in one frame or body, about: what checks them takes longer for many small ones than for as many bytes of text. */
export const maxValues = 10_000;

export interface Refusal {
  ok: false;
  code: Extract<ErrorCode, 'INVALID_JSON' | 'INVALID_REQUEST' | 'UNKNOWN_TYPE' | 'VALIDATION_FAILED'>;
  id: string | undefined;
  message: string;
  details?: { issues: Issue[] };
}
export type Parsed =
  | { ok: true; request: Request /** Fields of the frame that its message does not have, some of them. */; ignored?: readonly string[] }
  | Refusal;

const refuse = (code: Refusal['code'], message: string, id?: string): Refusal => ({ ok: false, code, id, message });

/** Why a text is not parsed: brackets outside of strings open more than `maxDepth` at once, or there are too many values. Looks at the text, before anything is built of it. */
export function tooComplex(json: string): string | undefined {
  let depth = 0;
  let values = 1;
  for (let i = 0; i < json.length; i++) {
    const c = json.charCodeAt(i);
    if (c === 0x22) {
      // to the closing quote, over escaped characters
      for (i++; i < json.length && json.charCodeAt(i) !== 0x22; i++) if (json.charCodeAt(i) === 0x5c) i++;
    } else if (c === 0x7b || c === 0x5b) {
      if (++depth > maxDepth) return `nested deeper than ${maxDepth}`;
    } else if (c === 0x7d || c === 0x5d) depth--;
    else if (c === 0x2c && ++values > maxValues) return `more than ${maxValues} values`;
  }
  return undefined;
}

/** What a frame of each type holds: the fields of its row, and the sender's mark. A Map: a peer may send type "constructor". */
const frames = new Map(
  Object.entries<RequestRow>(requests).map(([type, { body }]) => {
    const frame = body.safeExtend({ id: requestId.optional() });
    return [type, { frame, known: new Set(['type', ...Object.keys(frame.shape)]) }];
  }),
);

/** The types that only the gateway sends. */
const sentTypes = new Set(allMessages.map(({ type }) => type).filter((type) => !frames.has(type)));

function unknownType(type: string): string {
  if (sentTypes.has(type)) return `${type} is sent by the gateway, not to it`;
  const shown = clip(type, 64);
  const meant = nearest(shown, frames.keys());
  return `no message has the type ${JSON.stringify(shown)}${meant === undefined ? '' : `; did you mean ${meant}?`}`;
}

/**
 * Turns one text frame into a typed request. Never throws.
 * @param user the owner of a new session that names none
 */
export function parse(text: string, user?: string): Parsed {
  const complexity = tooComplex(text);
  if (complexity !== undefined) return refuse('INVALID_JSON', complexity);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return refuse('INVALID_JSON', 'the frame is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return refuse('INVALID_REQUEST', 'the frame is not a JSON object');
  const { type, id: given } = value as Record<string, unknown>;
  const row = typeof type === 'string' ? frames.get(type) : undefined;
  if (user !== undefined && type === 'NewSessionRequest') (value as { user_identity?: unknown }).user_identity ??= user;
  const checked = row && check(row.frame, value);
  if (checked?.success) {
    const request = checked.data as { type?: unknown };
    // `type` is not among the fields
    request.type = type;
    const ignored = row && unknownNames(value, row.known);
    return ignored ? { ok: true, request: request as Request, ignored } : { ok: true, request: request as Request };
  }
  const id = requestId.safeParse(given).data;
  if (typeof type !== 'string') return refuse('INVALID_REQUEST', 'the frame has no string `type`', id);
  if (!checked) return refuse('UNKNOWN_TYPE', unknownType(type), id);
  const more = misspelt(value, row.known);
  return { ...refuse('VALIDATION_FAILED', `${type}: ${checked.line}${more}`, id), details: { issues: checked.issues } };
}
