import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import type { Server } from 'node:https';
import { createSecureContext } from 'node:tls';
import type { Logger } from 'pino';
import type { Clock } from './clock.ts';

/** How often the files are looked at. What renews certificates does so days before they expire. */
const lookMs = 10_000;
const dayMs = 86_400_000;
/** Who renews automatically does so a month ahead: with two weeks left something is wrong. */
const soonMs = 14 * dayMs;

/** A certificate, with its chain, and its private key, as PEM files. */
export interface TlsFiles {
  cert: string;
  key: string;
}

export interface TlsPair {
  cert: Buffer;
  key: Buffer;
  expiresAt: number;
}

/** Why files cannot be used; `of` is the one that is wrong. */
export class TlsError extends Error {
  readonly of: keyof TlsFiles;
  constructor(of: keyof TlsFiles, message: string) {
    super(message);
    this.of = of;
  }
}

/** @throws TlsError */
export async function readTls(files: TlsFiles): Promise<TlsPair> {
  const read = (of: keyof TlsFiles) =>
    readFile(files[of]).catch(({ code }: NodeJS.ErrnoException) => {
      throw new TlsError(of, `${files[of]} cannot be read (${code})`);
    });
  const attempt = <T>(of: keyof TlsFiles, what: string, parse: () => T): T => {
    try {
      return parse();
    } catch {
      throw new TlsError(of, `${files[of]} is not ${what}`);
    }
  };
  const [cert, key] = [await read('cert'), await read('key')];
  const certificate = attempt('cert', 'a certificate in PEM', () => new X509Certificate(cert));
  const privateKey = attempt('key', 'a private key in PEM without a passphrase', () => createPrivateKey(key));
  if (!certificate.checkPrivateKey(privateKey)) throw new TlsError('key', `${files.key} is not the key of ${files.cert}`);
  attempt('cert', 'a certificate chain that TLS can use', () => createSecureContext({ cert, key }));
  return { cert, key, expiresAt: Date.parse(certificate.validTo) };
}

/**
 * Reads the files again when they change, for connections from then on. Files that cannot be used change nothing, and are reported once.
 * @returns a function that ends it
 */
export function watchTls(files: TlsFiles, pair: TlsPair, server: Server, clock: Clock, log: Logger): () => void {
  let known = '';
  let isLooking = false;
  let current = pair;
  let warnedFor: number | undefined;
  /** Why the files could not be used when they were read last. */
  let fault: string | undefined;

  const warnOfEnd = () => {
    const leftMs = current.expiresAt - clock.now();
    if (leftMs > soonMs || warnedFor === current.expiresAt) return;
    warnedFor = current.expiresAt;
    const fields = { file: files.cert, expires_at: new Date(current.expiresAt).toISOString() };
    log.warn(fields, leftMs > 0 ? 'TLS certificate expires soon' : 'TLS certificate has expired');
  };
  const stateOf = async (file: string) => {
    const { mtimeMs, size, ino } = await stat(file);
    return `${mtimeMs} ${size} ${ino}`;
  };
  /** Cannot reject. */
  const look = async () => {
    if (isLooking) return;
    isLooking = true;
    try {
      const state = await Promise.all([stateOf(files.cert), stateOf(files.key)]).then(String, () => 'unreadable');
      if (state !== known) {
        known = state;
        const read = await readTls(files);
        fault = undefined;
        if (!read.cert.equals(current.cert) || !read.key.equals(current.key)) {
          server.setSecureContext({ cert: read.cert, key: read.key });
          current = read;
          log.info({ file: files.cert, expires_at: new Date(read.expiresAt).toISOString() }, 'TLS certificate renewed');
        }
      }
      warnOfEnd();
    } catch (error) {
      const { message } = error as Error;
      // files that are being written are often read more than once
      if (message !== fault) log.warn({ reason: message }, 'TLS certificate could not be renewed; the one before stays in use');
      fault = message;
    } finally {
      isLooking = false;
    }
  };
  void look();
  return clock.every(lookMs, () => void look());
}
