/** Why a socket could not be opened, as far as its platform reports it: ws all of it, a browser nothing. */
export interface Refusal {
  message?: unknown;
  error?: { code?: unknown };
  /** Of the HTTP answer. */
  status?: number;
  /** What the answer asks for by Retry-After. */
  retryAfterMs?: number;
}

/** Answers that ask for another try: timeout, too early, too many requests. */
const temporary = [408, 425, 429];
/** TLS on one side only, a certificate that is not accepted, or no HTTP. */
const codes = /^(EPROTO|ERR_SSL_|ERR_TLS_|CERT_|HPE_|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT|UNABLE_TO_)/;

/** Whether the same try would be refused again: another path, another Host, another scheme is needed. */
export function isPermanent({ status = Number.NaN, error }: Refusal): boolean {
  return (status < 500 && !temporary.includes(status)) || codes.test(String(error?.code));
}

/** The HTTP answer to an upgrade that was refused, as ws hands it over. */
interface Answer {
  statusCode: number;
  headers: Record<string, string | undefined>;
  setEncoding(encoding: 'utf8'): void;
  on(type: 'data' | 'end' | 'error', listener: (text: string) => void): void;
}
interface Telling {
  on?(type: 'unexpected-response', listener: (request: unknown, answer: Answer) => void): void;
}

/** As much of the answer as a person reads. */
const maxText = 300;

/** Calls `refused` with the HTTP answer to an upgrade that was refused, on a socket of ws; on others never. The socket is left to be discarded. */
export function onAnswer(socket: object, refused: (refusal: Refusal) => void): void {
  (socket as Telling).on?.('unexpected-response', (_, answer) => {
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

/** The gateway answers a line of text, a proxy a page. */
const messageOf = (text: string) =>
  /^\s*[<{]/.test(text)
    ? ''
    : text
        .replaceAll(/\p{Cc}+/gu, ' ')
        .trim()
        .slice(0, maxText);
