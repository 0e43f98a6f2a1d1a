/**
 * A text frame as a server sends it, whole and unmasked (RFC 6455, 5.2), as a string of its bytes: to be written as latin1.
 * Strings of bytes are joined and written without a separate buffer, which small frames would spend half their time on.
 */
export function textFrame(text: string): string {
  const length = Buffer.byteLength(text);
  const bytes = length === text.length ? text : Buffer.from(text).toString('latin1');
  if (length < 126) return `\x81${String.fromCharCode(length)}${bytes}`;
  if (length < 65_536) return `\x81\x7e${String.fromCharCode(length >>> 8, length & 0xff)}${bytes}`;
  // nothing the gateway says is as long as 4 GiB
  const [a, b, c, d] = [length >>> 24, (length >>> 16) & 0xff, (length >>> 8) & 0xff, length & 0xff];
  return `\x81\x7f\0\0\0\0${String.fromCharCode(a, b, c, d)}${bytes}`;
}

/** An answer's text. Its envelope is joined to the text of its body: quicker than one more object. `ignored`: the request's unknown fields. */
export function answerText(
  { type, body }: { type: string; body: object },
  id: string | undefined,
  ignored: readonly string[] | undefined,
): string {
  const head = id === undefined ? `{"type":"${type}"` : `{"type":"${type}","id":${JSON.stringify(id)}`;
  const unknown = ignored === undefined ? '' : `,"ignored":${JSON.stringify(ignored)}`;
  const fields = JSON.stringify(body);
  // a body whose fields are all absent has no text to join
  return fields === '{}' ? `${head}${unknown}}` : `${head}${unknown},${fields.slice(1)}`;
}

/** The answer to a ping, as `textFrame`: it holds what the ping held, given as a string of its bytes. */
export const pongFrame = (payload: string): string => `\x8a${String.fromCharCode(payload.length)}${payload}`;
