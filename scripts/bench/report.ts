import { readFileSync } from 'node:fs';
import { cpus, platform, release } from 'node:os';
import { join } from 'node:path';
import { coreCount, isPinned, root } from './children.ts';
import type { Spread } from './statistics.ts';

/** A part of the report. */
export interface Section {
  title: string;
  /** Markdown. */
  text: string;
  /** The same for programs. */
  data: unknown;
}

/** A Markdown table that can be read without a browser too. The first column is text, the others numbers. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((cell, i) => Math.max(cell.length, ...rows.map((row) => (row[i] ?? '').length)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join(' | ')} |`;
  const rule = `|${widths.map((width, i) => (i === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}

/** 12345.6 as 12,346; small numbers keep a digit or two. */
export const count = (number: number) =>
  number.toLocaleString('en-US', { maximumFractionDigits: Math.abs(number) >= 100 ? 0 : Math.abs(number) >= 10 ? 1 : 2 });

/** Median (smallest to largest). */
export const ratios = ({ median, min, max }: Spread) => `${median.toFixed(2)} (${min.toFixed(2)} to ${max.toFixed(2)})`;

export const percent = (share: number) => `${Math.round(share * 100)} %`;

export const asMarkdown = (sections: readonly Section[]) => sections.map(({ title, text }) => `## ${title}\n\n${text}\n`).join('\n');

const versionOf = (name: string): string => {
  const file = join(root, 'node_modules', name, 'package.json');
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
};

/** On what the numbers were taken, and how. */
export function conditions(): Section {
  const data = {
    at: new Date().toISOString(),
    node: process.version,
    system: `${platform()} ${release()}`,
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    cores: coreCount,
    pinned: isPinned,
    versions: Object.fromEntries(['ws', 'socket.io', 'livekit-server-sdk', 'zod', 'pino'].map((name) => [name, versionOf(name)])),
  };
  const versions = Object.entries(data.versions).map(([name, version]) => `${name} ${version}`);
  const text = [
    `${data.at}. Node ${data.node}, ${data.system}, ${data.cores} cores (${data.processor}). ${versions.join(', ')}.`,
    data.pinned
      ? 'The server has one core, the load another.'
      : 'Server and load are not kept on cores of their own: this machine has not two, or no taskset.',
    'Each number is a median of windows, walked in the order A B B A in fresh, warmed processes; beside a ratio stand the smallest and largest walk.',
    'bare ws: the same frames from plain Maps by ws, JSON.parse, JSON.stringify and node:crypto, with no check, no log, no limit. bare ws again: the same program once more; how far it is from 1.00 is the noise.',
    'server.workers: this version runs one process, so there is nothing to measure.',
  ].join('\n');
  return { title: 'Conditions', text, data };
}
