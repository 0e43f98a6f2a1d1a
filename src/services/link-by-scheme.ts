import type { EndpointScheme } from '../../protocol/fields.ts';
import { GatewayError } from '../errors.ts';
import type { Link } from './links.ts';

/** One way to call services that do not connect. */
export interface LinkMaker {
  /** Why none can be called there, as far as is known now; undefined: one may be. Cannot reject. */
  refusal(endpoint: string): string | undefined | Promise<string | undefined>;
  link(endpoint: string): Link;
}

/** A function that resolves with how a service at an endpoint is reached. It rejects with GatewayError VALIDATION_FAILED where none can be. */
export const linkBy =
  (makers: Readonly<Record<EndpointScheme, LinkMaker>>) =>
  async (endpoint: string): Promise<Link> => {
    const maker = makers[new URL(endpoint).protocol.slice(0, -1) as EndpointScheme];
    const message = await maker.refusal(endpoint);
    if (message === undefined) return maker.link(endpoint);
    throw new GatewayError('VALIDATION_FAILED', `body: endpoint: ${message}`, { details: { issues: [{ path: 'endpoint', message }] } });
  };
