import type { Config } from './config.ts';
import type { TlsFiles } from './tls.ts';

const ms = (seconds: number) => seconds * 1_000;

/** Where the certificate and its key are; undefined: it serves without TLS. */
export const tlsFiles = ({ tls_cert: cert, tls_key: key }: Config['server']): TlsFiles | undefined =>
  cert !== undefined && key !== undefined ? { cert, key } : undefined;

/** The configuration as the parts of a gateway take it: times in milliseconds, names in camelCase. The one place that knows both. */
export function runtimeConfig({ server, livekit, microservices, session, limits, heartbeat }: Config) {
  return {
    listen: {
      host: server.host,
      port: server.port,
      keepAliveMs: ms(server.keep_alive_s),
      trustedProxies: server.trusted_proxies,
      tls: tlsFiles(server),
    },
    admission: { host: server.host, allowedOrigins: server.allowed_origins, allowedHosts: server.allowed_hosts },
    /** How long a REST call may wait for a session to be ready. */
    maxWaitMs: ms(server.max_wait_s),
    /** How long a stop may take to end the sessions. */
    drainMs: ms(server.drain_s),
    lostAfterMs: ms(livekit.lost_after_s),
    timeouts: { registrationMs: ms(microservices.registration_timeout), maxMessages: limits.messages_per_session },
    /** Defaults of a session. */
    defaults: {
      registrationMs: ms(microservices.registration_timeout),
      joinTimeoutMs: ms(microservices.join_timeout),
      ttlMs: ms(session.default_expiry ?? session.ttl_hours * 3_600),
    },
    maxServices: limits.services,
    maxBodyBytes: limits.body_bytes,
    answerBytesPerSecond: limits.answer_bytes_per_second,
    sockets: {
      maxFrameBytes: limits.frame_bytes,
      maxBufferedBytes: limits.buffered_bytes,
      slowReaderMs: ms(limits.slow_reader_s),
      firstFrameMs: ms(limits.first_frame_s),
      messagesPerSecond: limits.messages_per_second,
      messageBurst: limits.message_burst,
      framesPerSecond: limits.frames_per_second,
      bytesPerSecond: limits.bytes_per_second,
      answerBytesPerSecond: limits.answer_bytes_per_second,
      maxFragments: limits.fragments,
      maxRefusedInARow: limits.refused_in_a_row,
      maxConnections: server.max_connections,
      upgradesPerSecond: limits.upgrades_per_second,
      clientPingMs: ms(heartbeat.client_s),
      servicePingMs: ms(heartbeat.service_s),
      pongTimeoutMs: ms(heartbeat.timeout_s),
    },
  };
}
