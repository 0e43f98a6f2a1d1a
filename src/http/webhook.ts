import { WebhookReceiver } from 'livekit-server-sdk';
import { GatewayError } from '../errors.ts';
import { type App, readText } from './app.ts';

/** Far above what LiveKit sends: a room with its participants' tracks. */
const maxBytes = 1_048_576;

export interface WebhookParts {
  apiKey: string;
  apiSecret: string;
  /** Something happened in this room. */
  ring(room: string): void;
}

/** Takes LiveKit's webhooks: signed by the LiveKit secret over the raw body, answered at once. A webhook is only used as a trigger to poll LiveKit. */
export function webhook(app: App, { apiKey, apiSecret, ring }: WebhookParts): void {
  const receiver = new WebhookReceiver(apiKey, apiSecret);
  app.post('/livekit/webhook', async (c) => {
    const body = await readText(c, maxBytes);
    let room: string | undefined;
    try {
      room = (await receiver.receive(body, c.req.header('authorization')?.replace(/^bearer +/i, ''))).room?.name;
    } catch {
      c.header('www-authenticate', 'Bearer realm="livekit-webhook"');
      throw new GatewayError(
        'UNAUTHENTICATED',
        'the webhook is not signed with the LiveKit secret: set the same key and secret on both sides',
      );
    }
    if (room !== undefined) ring(room);
    return c.json({ success: true });
  });
}
