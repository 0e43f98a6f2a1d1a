import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');

/** What a page loads besides its own; measured: a page is to notice no more of it. */
const maxBytes = 8_192;
/** What the client takes from the contract at run time. */
const contract = ['protocol/close.ts', 'protocol/errors.ts', 'protocol/failures.ts', 'protocol/times.ts', 'protocol/version.ts'];

test.each([['src/client/client.ts'], ['src/client/service.ts']])('%s is small, and brings no package along', async (entry) => {
  const { outputFiles, metafile } = await build({
    entryPoints: [join(root, entry)],
    absWorkingDir: root,
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    external: ['ws'],
    write: false,
    metafile: true,
  });
  const others = Object.keys(metafile.inputs).filter((file) => !file.startsWith('src/client/') && !contract.includes(file));
  expect(others).toEqual([]);
  const imported = Object.values(metafile.outputs).flatMap(({ imports }) => imports.map(({ path, kind }) => `${kind} ${path}`));
  expect(imported).toEqual(['dynamic-import ws']);
  const bytes = gzipSync(outputFiles[0]?.contents ?? '', { level: 9 }).length;
  expect(bytes).toBeGreaterThan(1_000);
  expect(bytes).toBeLessThanOrEqual(maxBytes);
});
