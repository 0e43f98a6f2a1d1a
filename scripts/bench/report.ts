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
