import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { mark } from '../../src/rooms/livekit.ts';
import { ManualClock } from '../support/clock.ts';
import { rest } from '../support/http-service.ts';
import { sharedLiveKit } from '../support/livekit.ts';
import { describeWith, parts } from '../support/parts.ts';
import { startGatewayIn } from './own-livekit.ts';
import { joinRoom } from './room.ts';

const long = { timeout: 300_000 };
const minuteMs = 60_000;
/** Between two looks for leftovers. */
const sweepMs = 30_000;
const soon = { timeout: 90_000, interval: 20 };

describeWith(parts.livekit)('leftover rooms on a real LiveKit', () => {
  const livekit = sharedLiveKit();

  /** Which of these rooms are there. */
  const there = async (...names: string[]) => (await livekit().client.listRooms(names)).map(({ name }) => name).sort();

  /** A room that somebody made by a call. @returns its name */
  async function make(metadata: string): Promise<string> {
    const name = `left-${randomUUID()}`;
    await livekit().client.createRoom({ name, metadata, emptyTimeout: 300 });
    return name;
  }

  async function start(name: string) {
    const clock = new ManualClock();
    const gateway = await startGatewayIn(clock, livekit(), name);
    const sessions = `${gateway.url}/api/v1/sessions`;
    /** An Active session: time may pass as it likes without ending it. */
    const open = async () => {
      const { body } = await rest(sessions, 'POST', { user_identity: 'ada', required_services: [] });
      const join = () => joinRoom(body.livekit_url, body.access_token);
      const me = await join();
      await clock.advance(2_000);
      const now = async () => (await rest(`${sessions}/${body.session_id}`)).body;
      await expect.poll(now, soon).toMatchObject({ status: 'Active' });
      return { room: body.room_name as string, join, me, now, end: () => rest(`${sessions}/${body.session_id}`, 'DELETE') };
    };
    /** Lets it look for leftovers and waits until it has: a look under way holds the next one off. */
    const sweep = async () => {
      for (let i = 0; i < 2; i++) {
        const bait = await make(mark(name, randomUUID()));
        await clock.advance(i === 0 ? minuteMs : sweepMs);
        await expect.poll(() => there(bait), soon).toEqual([]);
      }
    };
    return { clock, gateway, open, sweep };
  }

  test('with our mark and no session are deleted after the first minute', long, async () => {
    const { clock, gateway } = await start('mine');
    const orphan = await make(mark('mine', randomUUID()));
    await clock.advance(minuteMs - 1_000);
    // a deletion under way would be through by then
    for (let calls = 0; calls < 5; calls++) await rest(`${gateway.url}/ready`);
    expect(await there(orphan)).toEqual([orphan]);
    await clock.advance(1_000);
    await expect.poll(() => there(orphan), soon).toEqual([]);
  });

  test('with the mark of a session that has another room are deleted', long, async () => {
    const { open, sweep } = await start('mine');
    const session = await open();
    const { session_id } = await session.now();
    const second = await make(mark('mine', session_id));
    await sweep();
    expect(await there(second, session.room)).toEqual([session.room]);
  });

  test('brought back by the token of an ended session are deleted by their name', long, async () => {
    const { open, sweep } = await start('mine');
    const session = await open();
    await session.end();
    await session.me.gone;
    await expect.poll(session.now, soon).toMatchObject({ status: 'Terminated' });
    expect(await there(session.room)).toEqual([]);

    const again = await session.join();
    const [room] = await livekit().client.listRooms([session.room]);
    expect(room?.metadata).toBe('');
    await sweep();
    expect(await there(session.room)).toEqual([]);
    await again.gone;
  });

  test('of a live session stay', long, async () => {
    const { open, sweep } = await start('mine');
    const session = await open();
    await sweep();
    expect(await there(session.room)).toEqual([session.room]);
    expect(await session.now()).toMatchObject({ status: 'Active', health: 'ok' });
  });

  test('of others stay, whatever they say of themselves', long, async () => {
    const { open, sweep } = await start('mine');
    const ended = await open();
    await ended.end();
    await expect.poll(ended.now, soon).toMatchObject({ status: 'Terminated' });
    const foreign = [
      '',
      'not JSON',
      '"mine"',
      'null',
      '{"sg":null}',
      JSON.stringify({ gateway: 'mine', session_id: randomUUID() }),
      JSON.stringify({ sg: { gateway: 'mine' } }),
      mark('mine-too', randomUUID()),
      mark('', randomUUID()),
    ];
    const names = await Promise.all(foreign.map(make));
    // somebody took the name of an ended session for a room of their own
    await livekit().client.createRoom({ name: ended.room, metadata: 'theirs', emptyTimeout: 300 });
    await sweep();
    expect(await there(...names, ended.room)).toEqual([...names, ended.room].sort());
  });

  test('of a second gateway stay, with a session and without', long, async () => {
    const [one, two] = [await start('one'), await start('two')];
    const [ofOne, ofTwo] = [await one.open(), await two.open()];
    const orphans = { one: await make(mark('one', randomUUID())), two: await make(mark('two', randomUUID())) };
    await one.sweep();
    expect(await there(orphans.one, orphans.two)).toEqual([orphans.two]);
    await two.sweep();
    expect(await there(orphans.two, ofOne.room, ofTwo.room)).toEqual([ofOne.room, ofTwo.room].sort());
    expect(await ofOne.now()).toMatchObject({ status: 'Active' });
    expect(await ofTwo.now()).toMatchObject({ status: 'Active' });
  });
});
