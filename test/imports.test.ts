import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, test } from 'vitest';

const root = join(import.meta.dirname, '..');

/** What stands below everything, and knows nothing of sessions. */
const ground = ['src/clock.ts', 'src/errors.ts', 'src/secrets.ts', 'src/time.ts'];

/** What each part may import besides itself; a part is a folder, or a file at the top of src. */
const mayImport: Record<string, readonly string[]> = {
  protocol: [],

  'src/sessions': ['protocol', ...ground],

  'src/store': ['protocol', 'src/sessions', ...ground],
  'src/rooms': ['protocol', 'src/sessions', ...ground],
  'src/services': ['protocol', 'src/sessions', 'src/addresses.ts', ...ground],

  'src/socket': ['protocol', 'src/sessions', 'src/services', 'src/auth', 'src/edge', 'src/level.ts', 'src/turn.ts', ...ground],
  'src/http': ['protocol', 'src/sessions', 'src/services', 'src/auth', 'src/edge', 'src/level.ts', 'src/tls.ts', 'src/turn.ts', ...ground],

  'src/client': ['protocol'],

  'src/auth': ['protocol', 'src/sessions', 'src/edge', 'src/addresses.ts', 'src/config-values.ts', ...ground],
  'src/edge': ['src/addresses.ts'],
  'src/level.ts': [],
  'src/turn.ts': [],

  'src/addresses.ts': [],
  'src/ask.ts': ['src/config.ts', 'src/pinned.ts'],
  'src/clock.ts': [],
  'src/descriptors.ts': ['src/clock.ts'],
  'src/errors.ts': ['protocol', 'src/time.ts'],
  'src/secrets.ts': [],
  'src/pinned.ts': [],
  'src/time.ts': [],
  'src/transport.ts': ['src/auth', 'src/socket'],
  'src/tls.ts': ['src/clock.ts'],
  'src/version.ts': [],

  'src/config.ts': ['protocol', 'src/auth', 'src/services', 'src/config-values.ts'],
  'src/config-runtime.ts': ['src/config.ts', 'src/tls.ts'],
  'src/config-load.ts': ['protocol', 'src/addresses.ts', 'src/auth', 'src/config.ts', 'src/config-strays.ts', 'src/config-values.ts'],
  'src/config-strays.ts': ['protocol', 'src/config.ts'],
  'src/config-values.ts': ['protocol', 'src/addresses.ts'],
  'src/log': ['src/clock.ts', 'src/secrets.ts', 'src/time.ts'],
  'src/workspace.ts': ['src/errors.ts'],
  'src/key-commands.ts': ['protocol', 'src/auth', 'src/config.ts', 'src/config-values.ts'],
  'src/reload.ts': ['src/auth', 'src/config.ts', 'src/errors.ts'],
  'src/resources.ts': [
    'src/auth',
    'src/sessions',
    'src/store',
    'src/services',
    'src/config.ts',
    'src/config-load.ts',
    'src/config-runtime.ts',
    'src/tls.ts',
    'src/workspace.ts',
    ...ground,
  ],
  'src/library.ts': ['protocol', 'src/sessions', 'src/store', 'src/auth', 'src/log', ...ground],
};
/** They put the parts together, and may import everything. */
const composers = ['src/gateway.ts', 'src/serve.ts', 'src/main.ts'];
/** A client uses these at run time, so they bring nothing along. */
const standalone = ['protocol/errors.ts', 'protocol/close.ts', 'protocol/failures.ts', 'protocol/times.ts', 'protocol/version.ts'];

const files = ['protocol', 'src'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((name) => /\.tsx?$/.test(name)),
);

/** What a file names in import and export ... from, in import() and in a bare import. */
const importsOf = (source: string): string[] =>
  [...source.matchAll(/(?:^|[\s;}])(?:from\s*|import\s*\(?\s*)(['"])([^'"\n]+)\1/g)].map((match) => match[2] ?? '');

/** Only what is still there when the types are gone. */
const runTimeImportsOf = (source: string): string[] =>
  importsOf(source.replaceAll(/^(?:import|export) type [^;]*?from\s*(['"])[^'"\n]+\1/gm, ''));

const partOf = (file: string) => (file.startsWith('src/') ? file.split('/').slice(0, 2).join('/') : (file.split('/')[0] ?? ''));

const imports = files.flatMap((file) => importsOf(readFileSync(join(root, file), 'utf8')).map((name) => ({ file, name })));

/** Own files, by their path from the root; packages are left out. */
const arrows = imports
  .filter(({ name }) => name.startsWith('.'))
  .map(({ file, name }) => ({ file, name, target: relative(root, join(root, dirname(file), name)) }));

describe('imports', () => {
  test('are found in every form', () => {
    const source = [
      "import a from './a.ts';",
      "import type { B } from './b.ts';",
      "export { c } from './c.ts';",
      "import './d.ts';",
      "const e = await import('./e.ts');",
      "import {\n  f,\n} from './f.ts';",
      'type G = import("./g.ts").G;',
    ].join('\n');
    expect(importsOf(source)).toEqual(['./a.ts', './b.ts', './c.ts', './d.ts', './e.ts', './f.ts', './g.ts']);
    expect(runTimeImportsOf(source)).toEqual(['./a.ts', './c.ts', './d.ts', './e.ts', './f.ts', './g.ts']);
    expect(runTimeImportsOf("import type {\n  A,\n} from './a.ts';\nimport { type B } from './b.ts';")).toEqual(['./b.ts']);
    expect(arrows.length).toBeGreaterThan(100);
  });

  test('belong to a part with a row here', () => {
    const unknown = files.filter((file) => !(partOf(file) in mayImport) && !composers.includes(file));
    expect(unknown).toEqual([]);
  });

  test('point at files that are there', () => {
    expect(arrows.filter(({ target }) => !files.includes(target))).toEqual([]);
  });

  test('run one way', () => {
    const wrong = arrows
      .filter(({ file, target }) => {
        const from = partOf(file);
        const to = partOf(target);
        return from !== to && !composers.includes(file) && !mayImport[from]?.includes(to);
      })
      .map(({ file, name }) => `${file} imports ${name}`);
    expect(wrong).toEqual([]);
  });

  test('of the client at run time are its own, what brings nothing along, and ws', () => {
    const client = files.filter((file) => partOf(file) === 'src/client');
    const wrong = client.flatMap((file) =>
      runTimeImportsOf(readFileSync(join(root, file), 'utf8'))
        .filter((name) => {
          const target = relative(root, join(root, dirname(file), name));
          return name !== 'ws' && !client.includes(target) && !standalone.includes(target);
        })
        .map((name) => `${file} imports ${name}`),
    );
    expect(wrong).toEqual([]);
  });

  test('of what a client uses at run time are none', () => {
    expect(imports.filter(({ file }) => standalone.includes(file))).toEqual([]);
  });
});

describe('files', () => {
  /** The files whose imports, types included, lead back to them. */
  const inCircles = (all: readonly { file: string; target: string }[]) => {
    const targets = new Map<string, string[]>();
    for (const { file, target } of all) targets.set(file, [...(targets.get(file) ?? []), target]);
    return [...targets.keys()].filter((start) => {
      const seen = new Set<string>();
      const left = [...(targets.get(start) ?? [])];
      for (let file = left.pop(); file !== undefined; file = left.pop()) {
        if (file === start) return true;
        if (!seen.has(file)) left.push(...(targets.get(file) ?? []));
        seen.add(file);
      }
      return false;
    });
  };

  test('in a circle are found', () => {
    const arrow = (file: string, target: string) => ({ file, target });
    const all = [arrow('a', 'b'), arrow('b', 'c'), arrow('c', 'b'), arrow('d', 'd')];
    expect(inCircles(all)).toEqual(['b', 'c', 'd']);
  });

  test('import each other in no circle, also not for their types', () => {
    expect(inCircles(arrows)).toEqual([]);
  });
});

describe('the rows', () => {
  test('name parts that are there, and never one that puts them together', () => {
    const parts = new Set(files.map(partOf));
    for (const [part, allowed] of Object.entries(mayImport)) {
      for (const name of [part, ...allowed]) expect(parts, name).toContain(name);
      for (const composer of composers) expect(allowed).not.toContain(composer);
    }
  });

  test('allow no circle', () => {
    const reach = (part: string, over: readonly string[]): void => {
      expect(over, [...over, part].join(' -> ')).not.toContain(part);
      for (const to of mayImport[part] ?? []) reach(to, [...over, part]);
    };
    for (const part of Object.keys(mayImport)) reach(part, []);
  });
});
