/** The wire contract's major version, sent in Hello. From 1.0 on it changes when an existing message changes its meaning; until then PROTOCOL.md lists such changes. Never for an addition. */
export const PROTOCOL_VERSION = 1;

/** Offering this WebSocket subprotocol makes the gateway say Hello first and name unknown fields in its answers; nothing else changes with it. */
export const SUBPROTOCOL = 'session-gateway.v1';
