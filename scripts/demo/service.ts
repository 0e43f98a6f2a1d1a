import { type Assignment, serve } from '../../src/client/service.ts';

/** What one service is and does. */
export interface ServiceOptions {
  /** The gateway's socket: ws://host:port/ws */
  gateway: string;
  id: string;
  /** The topic of the data it waits for in a room, how it transforms that, and the topic of its answer. */
  hears: string;
  work: (text: string) => string;
  says: string;
  /** `@livekit/rtc-node`; absent: it follows the protocol but joins no room. */
  rtc?: typeof import('@livekit/rtc-node') | undefined;
  /** Loads what a session needs; the service is ready when it has. */
  prepare?: () => Promise<void>;
  /** Called with each step the service takes. */
  onStep?: (step: string) => void;
  /** Called when a participant's audio track is subscribed. */
  onAudio?: (identity: string) => void;
}

/** An example service: it joins the room of every session it is asked to join, and answers what it hears there. */
export async function startService({ gateway, id, rtc, onStep, ...options }: ServiceOptions): Promise<{ close: () => Promise<void> }> {
  /** Joins the session's room. @returns the function that leaves it */
  const joinRoom = async (join: Assignment): Promise<() => Promise<void>> => {
    if (!rtc) return async () => {};
    const room = new rtc.Room();
    room.on(rtc.RoomEvent.DataReceived, (data, _from, _kind, topic) => {
      if (topic !== options.hears) return;
      const heard = new TextDecoder().decode(data);
      const answer = options.work(heard);
      onStep?.(`hears "${heard}", says "${answer}"`);
      void room.localParticipant?.publishData(new TextEncoder().encode(answer), { reliable: true, topic: options.says });
    });
    room.on(rtc.RoomEvent.TrackSubscribed, (_track, _publication, from) => options.onAudio?.(from.identity));
    await room.connect(join.livekit_url, join.access_token, { autoSubscribe: true, dynacast: false });
    onStep?.('joined the room');
    return () => room.disconnect();
  };

  const service = serve(gateway, { service_id: id, metadata: { type: id } }, async (join) => {
    onStep?.('accepted the session');
    const leave = await joinRoom(join);
    await options.prepare?.();
    onStep?.('is ready');
    return async () => {
      await leave();
      onStep?.(`left (${join.signal.reason.message})`);
    };
  });
  service.on('error', (error) => onStep?.(`failed: ${error.message}`));
  await service.registered;
  onStep?.('registered');
  return { close: () => service.close() };
}
