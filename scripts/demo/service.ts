import { once } from 'node:events';
import WebSocket from 'ws';
import type { Command, CommandType } from '../../protocol/events.ts';

/** What one service is and does. */
export interface ServiceOptions {
  /** The gateway's socket: ws://host:port/ws */
  gateway: string;
  id: string;
  /** The topic of the data it waits for in a room, what it makes of it, and the topic it says that on. */
  hears: string;
  work: (text: string) => string;
  says: string;
  /** Absent: it only follows the protocol and joins no room. Present: `@livekit/rtc-node`. */
  rtc?: typeof import('@livekit/rtc-node') | undefined;
  /** Loads what a session needs; the service is ready when it has. */
  prepare?: () => Promise<void>;
  /** Hears what the service does. */
  onStep?: (step: string) => void;
  /** An audio track of somebody in the room has come. */
  onAudio?: (identity: string) => void;
}

type Join = Command<'JoinRoomRequest'>;
interface Seat {
  join: Join;
  leave: () => Promise<void>;
}

/**
 * An example service: one socket to the gateway, and a seat in the room of every session it is asked to join.
 * It registers, accepts each JoinRoomRequest, joins with the token in it, says ServiceReady, and leaves when told.
 */
export async function startService({ gateway, id, rtc, onStep, ...options }: ServiceOptions): Promise<{ close: () => Promise<void> }> {
  const seats = new Map<string, Seat>();
  const socket = new WebSocket(gateway);
  const send = (frame: object) => socket.send(JSON.stringify(frame));
  socket.on('error', (error) => onStep?.(`socket failed: ${error.message}`));

  /** Sits down in the session's room and answers what it hears there. */
  const sit = async (join: Join): Promise<Seat> => {
    if (!rtc) return { join, leave: async () => {} };
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
    return { join, leave: () => room.disconnect() };
  };

  const commands: { [T in CommandType]: (command: Command<T>) => Promise<void> } = {
    async JoinRoomRequest(join) {
      const { assignment_id } = join;
      send({ type: 'JoinRoomResponse', assignment_id, accepted: true });
      onStep?.('accepted the session');
      try {
        seats.set(assignment_id, await sit(join));
        await options.prepare?.();
        send({ type: 'ServiceReady', assignment_id });
        onStep?.('is ready');
      } catch (error) {
        send({ type: 'ServiceFailed', assignment_id, error: String(error).slice(0, 500) });
      }
    },
    async ClientPresence() {},
    async LeaveRoomRequest({ assignment_id, reason }) {
      await seats.get(assignment_id)?.leave();
      seats.delete(assignment_id);
      send({ type: 'ServiceLeft', assignment_id, clean: true });
      onStep?.(`left (${reason})`);
    },
  };
  const registered = new Promise<void>((done, fail) => {
    socket.on('message', (data) => {
      const frame = JSON.parse(String(data));
      if (frame.type === 'RegisterServiceResponse') done();
      if (frame.type === 'Error') fail(new Error(frame.message));
      if (Object.hasOwn(commands, frame.type)) void commands[frame.type as 'JoinRoomRequest'](frame);
    });
  });

  await once(socket, 'open');
  send({ type: 'RegisterServiceRequest', id: '1', service_id: id, metadata: { type: id } });
  await registered;
  onStep?.('registered');
  return {
    async close() {
      await Promise.all([...seats.values()].map((seat) => seat.leave()));
      socket.close(1_000);
      if (socket.readyState !== WebSocket.CLOSED) await once(socket, 'close');
    },
  };
}
