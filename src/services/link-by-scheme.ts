import type { EndpointScheme } from '../../protocol/fields.ts';
import { GatewayError } from '../errors.ts';
import type { Link } from './links.ts';

/** One way to call services that do not connect. */
export interface LinkMaker {
  /** Why none can ever be called there; undefined: one may be. */
  refusal(endpoint: string): string | undefined;
  link(endpoint: string): Link;
}

/** A function that returns how a service at an endpoint is reached. It throws GatewayError VALIDATION_FAILED where none can ever be. */
export const linkBy =
  (makers: Readonly<Record<EndpointScheme, LinkMaker>>) =>
  (endpoint: string): Link => {
    const maker = makers[new URL(endpoint).protocol.slice(0, -1) as EndpointScheme];
    const message = maker.refusal(endpoint);
    if (message === undefined) return maker.link(endpoint);
    throw new GatewayError('VALIDATION_FAILED', `body: endpoint: ${message}`, { details: { issues: [{ path: 'endpoint', message }] } });
  };
