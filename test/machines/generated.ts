import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const root = join(import.meta.dirname, '../..');
const tools = join(root, '.tools/generators');
const programs = join(import.meta.dirname, 'programs');

export const document = (name: string) => join(root, 'protocol', name);
export const npmTool = (name: string) => join(tools, 'node_modules/.bin', name);
export const pythonTool = (name: string) => join(tools, 'python/bin', name);

/** A folder for generated code, in which the packages of the generators can be imported. */
export function workFolder(): { path: string; at(name: string): string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'generated-'));
  symlinkSync(join(tools, 'node_modules'), join(path, 'node_modules'));
  return { path, at: (name) => join(path, name), remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Puts the program that uses the generated code beside it. */
export function addProgram(name: string, folder: string): string {
  mkdirSync(folder, { recursive: true });
  const to = join(folder, name);
  cpSync(join(programs, name), to);
  return to;
}

/** Runs a program to its end. @returns what it printed @throws Error with its output, where it fails */
export async function run(command: string, args: readonly string[], cwd: string, env: NodeJS.ProcessEnv = {}): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(command, args, { cwd, env: { ...process.env, ...env }, maxBuffer: 64 * 1_024 * 1_024 });
    return stdout;
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`${command.split('/').at(-1)} ${args[0]} failed\n${stdout.slice(0, 4_000)}\n${stderr.slice(0, 4_000)}`);
  }
}

/** The JSON that a program printed as its last line. */
export const lastLine = (output: string): unknown => JSON.parse(output.trim().split('\n').at(-1) ?? '');

export const filesUnder = (folder: string, end: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(end))
    .map((name) => join(folder, name));

/** Compiles TypeScript as a strict project would. @returns the folder of the JavaScript */
export async function compile(folder: string, main: string, type: 'module' | 'commonjs'): Promise<string> {
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type }));
  const out = join(folder, 'out');
  const options = ['--strict', '--skipLibCheck', '--target', 'es2022', '--lib', 'es2022,dom', '--module', 'node16', '--outDir', out];
  await run(npmTool('tsc'), [...options, main], folder);
  writeFileSync(join(out, 'package.json'), JSON.stringify({ type }));
  return out;
}
