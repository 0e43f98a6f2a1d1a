/** Why a socket could not be opened, as far as its platform reports it: ws reports everything, a browser nothing. */
export interface Refusal {
  message?: unknown;
  error?: { code?: unknown };
  /** The HTTP status of the answer. */
  status?: number;
  /** The answer's Retry-After. */
  retryAfterMs?: number;
}

/** Statuses below 500 that ask for another attempt: timeout, too early, too many requests. */
const temporary = [408, 425, 429];
/** TLS on one side only, an invalid certificate, or a peer that does not speak HTTP. */
const codes = /^(EPROTO|ERR_SSL_|ERR_TLS_|CERT_|HPE_|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT|UNABLE_TO_)/;

/** Whether the same attempt would be refused again: the path, the Host or the scheme must change first. */
export function isPermanent({ status = Number.NaN, error }: Refusal): boolean {
  return (status < 500 && !temporary.includes(status)) || codes.test(String(error?.code));
}

/** The HTTP answer to a refused upgrade, as ws reports it. */
interface Answer {
  statusCode: number;
  headers: Record<string, string | undefined>;
  setEncoding(encoding: 'utf8'): void;
  on(type: 'data' | 'end' | 'error', listener: (text: string) => void): void;
}
interface WithUnexpectedResponse {
  on?(type: 'unexpected-response', listener: (request: unknown, answer: Answer) => void): void;
}

/** More of an answer is not worth reading in a log line. */
const maxText = 300;

/** Calls `refused` with the HTTP answer to a refused upgrade, on a socket of ws; never on others. The caller must drop the socket. */
export function onRefusal(socket: object, refused: (refusal: Refusal) => void): void {
  (socket as WithUnexpectedResponse).on?.('unexpected-response', (_, answer) => {
    const { statusCode: status, headers } = answer;
    const seconds = Number(headers['retry-after']);
    let text = '';
    const done = () => {
      const why = messageOf(text);
      refused({ message: `refused with ${status}${why && `: ${why}`}`, status, ...(seconds > 0 && { retryAfterMs: seconds * 1_000 }) });
    };
    answer.setEncoding('utf8');
    answer.on('data', (more) => {
      if (text.length <= maxText) text += more;
    });
    answer.on('end', done);
    answer.on('error', done);
  });
}

/** The gateway answers with a line of text, a proxy with a page. */
const messageOf = (text: string) =>
  /^\s*[<{]/.test(text)
    ? ''
    : text
        .replaceAll(/\p{Cc}+/gu, ' ')
        .trim()
        .slice(0, maxText);
