import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startGateway } from '../support/gateway.ts';
import { describeWith, parts } from '../support/parts.ts';
import { addProgram, compile, document, filesUnder, lastLine, npmTool, pythonTool, run, workFolder } from './generated.ts';

const minutes = 60_000;

/** What openapi-generator is asked for; nothing that a user would not say. */
const clients = {
  python: { additionalProperties: { packageName: 'gateway' } },
  go: { additionalProperties: { packageName: 'gateway', withGoMod: 'false' } },
  java: { library: 'native', additionalProperties: { openApiNullable: 'false' } },
  'typescript-fetch': {},
};

describeWith(parts.generators)('a client generated from openapi.json', () => {
  let work: ReturnType<typeof workFolder>;

  beforeAll(async () => {
    work = workFolder();
    const configs = Object.entries(clients).map(([generatorName, options]) => {
      const config = work.at(`${generatorName}.json`);
      writeFileSync(
        config,
        JSON.stringify({ generatorName, inputSpec: document('openapi.json'), outputDir: work.at(generatorName), ...options }),
      );
      return config;
    });
    // one Java for all of them
    await run(pythonTool('openapi-generator-cli'), ['batch', '--fail-fast', '--', ...configs], work.path);
  }, 5 * minutes);
  afterAll(() => work.remove());

  /** Each program opens a session, changes it, reads it, and asks for one that is not there. */
  const called = { status: 'Ready', tags: ['demo'], robot: 'r2', floor: '3', visibility: 'shared', error: 'SESSION_NOT_FOUND' };

  const options = { timeout: 5 * minutes };

  test('openapi-typescript: compiles and calls', options, async () => {
    const { url } = await startGateway();
    const folder = work.at('types');
    const main = addProgram('openapi-typescript.ts', folder);
    await run(npmTool('openapi-typescript'), [document('openapi.json'), '-o', join(folder, 'gateway.d.ts')], folder);
    const out = await compile(folder, main, 'module');
    expect(lastLine(await run(process.execPath, [join(out, 'openapi-typescript.js'), url], folder))).toEqual(called);
  });

  test('typescript-fetch: compiles and calls', options, async () => {
    const { url } = await startGateway();
    const folder = work.at('typescript-fetch');
    const out = await compile(folder, addProgram('typescript-fetch.ts', folder), 'commonjs');
    expect(lastLine(await run(process.execPath, [join(out, 'typescript-fetch.js'), url], folder))).toEqual(called);
  });

  test('Python: is imported and calls', options, async () => {
    const { url } = await startGateway();
    const main = addProgram('rest.py', work.at('python'));
    expect(lastLine(await run(pythonTool('python'), [main, url], work.at('python')))).toEqual(called);
  });

  test('the models of datamodel-code-generator: are imported, and take an answer', options, async () => {
    const { url } = await startGateway();
    const folder = work.at('models');
    const main = addProgram('models.py', folder);
    const input = ['--input', document('openapi.json'), '--output', join(folder, 'rest.py')];
    await run(pythonTool('datamodel-codegen'), [...input, '--output-model-type', 'pydantic_v2.BaseModel'], folder);
    expect(lastLine(await run(pythonTool('python'), [main, url], folder))).toEqual(called);
  });

  describeWith(parts.go)('in Go', () => {
    test('compiles and calls', options, async () => {
      const { url } = await startGateway();
      const folder = work.at('go-program');
      addProgram('main.go', folder);
      // the client needs nothing but Go's own packages
      writeFileSync(join(folder, 'go.mod'), 'module program\n\ngo 1.23\n');
      mkdirSync(join(folder, 'gateway'));
      for (const file of filesUnder(work.at('go'), '.go')) {
        if (!file.endsWith('_test.go')) await run('cp', [file, join(folder, 'gateway')], folder);
      }
      expect(lastLine(await run('go', ['run', '.', url], folder))).toEqual(called);
    });
  });

  describeWith(parts.javac)('in Java', () => {
    test('compiles and calls', options, async () => {
      const { url } = await startGateway();
      const folder = work.at('java');
      const main = addProgram('Main.java', folder);
      // what marks generated code is in a package of its own that only annotates
      const marks = addProgram('Generated.java', folder);
      // the generator's own jar has Jackson
      const [jar = ''] = filesUnder(pythonTool('../lib'), 'openapi-generator.jar');
      const sources = filesUnder(join(folder, 'src/main'), '.java');
      await run('javac', ['-nowarn', '-cp', jar, '-d', 'out', main, marks, ...sources], folder);
      expect(lastLine(await run('java', ['-cp', `out:${jar}`, 'Main', url], folder))).toEqual(called);
    });
  });
});
