/** What a socket that could not be opened reports, as far as its platform does: ws has all of it, a browser nothing. */
export interface SocketError {
  message?: unknown;
  error?: { code?: unknown };
}

/** Answers that ask for another try: timeout, too early, too many requests. */
const temporary = [408, 425, 429];
/** TLS on one side only, a certificate that is not accepted, or no HTTP. */
const codes = /^(EPROTO|ERR_SSL_|ERR_TLS_|CERT_|HPE_|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT|UNABLE_TO_)/;

/** Whether the same try would be refused again: another path, another Host, another scheme is needed. */
export function isPermanent({ message, error }: SocketError): boolean {
  const status = Number(/^Unexpected server response: (\d+)$/.exec(String(message))?.[1]);
  return (status < 500 && !temporary.includes(status)) || codes.test(String(error?.code));
}
