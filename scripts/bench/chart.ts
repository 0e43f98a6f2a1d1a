/** One group of bars: a workload. */
export interface Bars {
  what: string;
  /** As a multiple of the baseline; undefined: it has none here. */
  values: readonly (number | undefined)[];
}

const themes = {
  light: { ink: '#1f2328', quiet: '#59636e', line: '#8c959f', colors: ['#0969da', '#afb8c1'] },
  dark: { ink: '#f0f6fc', quiet: '#9198a1', line: '#656c76', colors: ['#4493f8', '#545d68'] },
} as const;
export type Theme = keyof typeof themes;

const width = 780;
const labels = 275;
const right = 60;
const top = 44;
const bar = 15;
const gap = 14;

/** Horizontal bars against a baseline of 1.00, for a page in that theme. */
export function chart(theme: Theme, series: readonly string[], baseline: string, groups: readonly Bars[]): string {
  const { ink, quiet, line, colors } = themes[theme];
  const values = groups.flatMap((group) => group.values).filter((value) => value !== undefined);
  const scale = (width - labels - right) / Math.max(1, ...values);
  const text = (x: number, y: number, fill: string, content: string, anchor = 'start') =>
    `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" fill="${fill}" text-anchor="${anchor}">${escaped(content)}</text>`;

  const parts: string[] = [];
  let at = top;
  for (const { what, values } of groups) {
    const bars = values.flatMap((value, i) => (value === undefined ? [] : [{ value, color: colors[i] ?? line }]));
    parts.push(text(labels - 12, at + (bars.length * bar) / 2 + 4, ink, what, 'end'));
    for (const { value, color } of bars) {
      parts.push(`<rect x="${labels}" y="${at}" width="${(value * scale).toFixed(1)}" height="${bar - 2}" rx="2" fill="${color}"/>`);
      parts.push(text(labels + value * scale + 6, at + bar - 4, ink, value.toFixed(2)));
      at += bar;
    }
    at += gap;
  }
  const one = labels + scale;
  const legend = series.map((name, i) => {
    const x = labels + i * 110;
    return `<rect x="${x}" y="8" width="11" height="11" rx="2" fill="${colors[i]}"/>${text(x + 17, 18, ink, name)}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${at}" width="${width}" height="${at}" font-family="system-ui, sans-serif" font-size="12" role="img">`,
    `<title>Units a second, as a multiple of ${escaped(baseline)}</title>`,
    ...legend,
    ...parts,
    `<line x1="${one.toFixed(1)}" y1="${top - 8}" x2="${one.toFixed(1)}" y2="${at - gap + 4}" stroke="${line}" stroke-dasharray="3 3"/>`,
    text(one, top - 13, quiet, `${baseline} = 1.00`, 'middle'),
    '</svg>',
    '',
  ].join('\n');
}

const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
