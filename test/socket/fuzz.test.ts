import fc from 'fast-check';
import { expect, test } from 'vitest';
import { errors } from '../../protocol/errors.ts';
import { requests } from '../../protocol/requests.ts';
import { type Frame, TestClient } from '../support/client.ts';
import { startGateway } from '../support/gateway.ts';
import { arbitraryOf } from '../support/schema.ts';

const frameCount = 10_000;

/** Frames as a peer may write them: from the schemas, with wrong fields, as other JSON, cut, with bytes changed, or no JSON at all. */
const right = fc.oneof(
  ...Object.entries(requests).map(([type, row]) => ({
    // most others need a session to get anywhere
    weight: type === 'NewSessionRequest' ? 4 : 1,
    arbitrary: arbitraryOf(row.body).map((body) => ({ type, ...(body as object) })),
  })),
);
const wrong = fc
  .tuple(right, fc.dictionary(fc.oneof(fc.string(), fc.constantFrom('session_id', 'service_id', 'metadata', '__proto__')), fc.jsonValue()))
  .map(([frame, fields]) => ({
    ...frame,
    ...fields,
  }));
const text = fc.oneof(
  { weight: 5, arbitrary: right.map((frame) => JSON.stringify(frame)) },
  { weight: 5, arbitrary: wrong.map((frame) => JSON.stringify(frame)) },
  { weight: 1, arbitrary: fc.tuple(right, fc.nat()).map(([frame, at]) => cut(JSON.stringify(frame), at)) },
  {
    weight: 1,
    arbitrary: fc.tuple(right, fc.nat(), fc.string({ maxLength: 3 })).map(([frame, at, junk]) => spliced(JSON.stringify(frame), at, junk)),
  },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 20 }).map((value) => JSON.stringify(value)) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 300 }) },
);
const cut = (frame: string, at: number) => frame.slice(0, at % frame.length);
const spliced = (frame: string, at: number, junk: string) =>
  frame.slice(0, at % frame.length) + junk + frame.slice((at % frame.length) + 1);

const documentedCloses = new Set([4400, 4413]);

test(`${frameCount} random and mutated frames never crash the gateway; each is answered or closes the socket as documented`, {
  timeout: 600_000,
}, async () => {
  const { url, holds } = await startGateway({
    limits: {
      messages_per_second: 1_000_000,
      message_burst: 1_000_000,
      upgrades_per_second: 1_000_000,
      bytes_per_second: 1_000_000_000,
      answer_bytes_per_second: 1_000_000_000,
    },
  });
  const operator = await TestClient.connect(url);
  const frames = fc.sample(text, { numRuns: frameCount, seed: 7 });
  const seen = new Map<string, number>();
  let client: TestClient | undefined;
  for (const [i, frame] of frames.entries()) {
    client ??= await TestClient.connect(url);
    client.send(frame);
    // a Ping behind each frame: its Pong says that the frame has been dealt with
    const id = `ping-${i}`;
    client.send({ type: 'Ping', id });
    const came = await Promise.race([client.next((answer) => answer.id === id), client.closed]);
    for (const answer of client.frames.splice(0)) note(answer);
    if ('code' in came && typeof came.code === 'number') {
      expect(documentedCloses, `${came.code} after ${frame}`).toContain(came.code);
      seen.set(`close ${came.code}`, (seen.get(`close ${came.code}`) ?? 0) + 1);
      client = undefined;
    }
  }
  client?.ws.close();
  await operator.caughtUp();

  function note(answer: Frame): void {
    const name = answer.type === 'Error' ? answer.code : answer.type;
    if (answer.type === 'Error') expect(Object.keys(errors)).toContain(answer.code);
    expect(answer.code).not.toBe('INTERNAL');
    seen.set(name, (seen.get(name) ?? 0) + 1);
  }
  // the frames reached every part: a fuzz that is refused at the door proves nothing
  for (const name of [
    'NewSessionResponse',
    'RegisterServiceResponse',
    'VALIDATION_FAILED',
    'FORBIDDEN',
    'SESSION_NOT_FOUND',
    'close 4400',
  ]) {
    expect(seen.get(name) ?? 0, name).toBeGreaterThan(10);
  }
  await expect.poll(() => holds().live_sessions).toBe(0);
});
