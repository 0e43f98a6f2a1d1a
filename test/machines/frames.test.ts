import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { allMessages } from '../../protocol/messages.ts';
import { startGateway } from '../support/gateway.ts';
import { describeWith, parts } from '../support/parts.ts';
import { addProgram, compile, document, lastLine, npmTool, pythonTool, run, workFolder } from './generated.ts';

const options = { timeout: 900_000 };

/** Every golden frame, by direction and type, and under the name of its message. */
const golden = allMessages.flatMap(({ name, type, direction }) =>
  readdirSync(document(`golden/${name}`))
    .filter((file) => file.startsWith('ok'))
    .map((file) => ({ name, type, direction, frame: JSON.parse(readFileSync(document(`golden/${name}/${file}`), 'utf8')) as unknown })),
);

describeWith(parts.generators)('types of frames', () => {
  let work: ReturnType<typeof workFolder>;
  beforeAll(() => {
    work = workFolder();
    writeFileSync(work.at('golden.json'), JSON.stringify(golden));
  });
  afterAll(() => work.remove());

  /** Each program opens a session over a socket and takes the answers as what they are. */
  const called = { status: 'Ready', tags: ['demo'], first: 'NewSessionResponse', pong: true };

  test('Python takes every golden frame by schema.json', options, async () => {
    const main = addProgram('validate.py', work.path);
    const said = lastLine(await run(pythonTool('python'), [main, document('schema.json'), work.at('golden.json')], work.path));
    expect(said).toEqual({ frames: golden.length, refused: [] });
  });

  test('of datamodel-code-generator have names, take every golden frame, and call', options, async () => {
    const { url } = await startGateway();
    const folder = work.at('datamodel');
    const main = addProgram('frames.py', folder);
    const input = ['--input', document('schema.json'), '--input-file-type', 'jsonschema', '--output', join(folder, 'frames_.py')];
    await run(pythonTool('datamodel-codegen'), [...input, '--output-model-type', 'pydantic_v2.BaseModel'], folder);
    expect(lastLine(await run(pythonTool('python'), [main, url, work.at('golden.json')], folder))).toEqual({ ...called, refused: [] });
  });

  test('of quicktype have names, compile, and call', options, async () => {
    const { url } = await startGateway();
    const folder = work.at('quicktype');
    const main = addProgram('quicktype.ts', folder);
    await run(npmTool('quicktype'), ['-s', 'schema', `${document('schema.json')}#/$defs/`, '-o', join(folder, 'frames.ts')], folder);
    const out = await compile(folder, main, 'module');
    expect(lastLine(await run(process.execPath, [join(out, 'quicktype.js'), url], folder))).toEqual(called);
  });

  test('of modelina have names, compile, and call', options, async () => {
    const { url } = await startGateway();
    const folder = work.at('modelina');
    const generate = addProgram('modelina.mjs', folder);
    const names = lastLine(await run(process.execPath, [generate, document('asyncapi.json'), folder], folder)) as string[];
    expect(names.filter((name) => /anonymous/i.test(name))).toEqual([]);
    expect(names).toEqual(expect.arrayContaining(['NewSessionRequest', 'NewSessionResponse', 'Session', 'SessionStatus', 'Selector']));
    const out = await compile(folder, addProgram('modelina.ts', folder), 'commonjs');
    expect(lastLine(await run(process.execPath, [join(out, 'modelina.js'), url], folder))).toEqual(called);
  });
});
