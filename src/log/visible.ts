/** Characters that act on a terminal, or on how the rest of a line is read, and that JSON leaves as they are: C1 controls, line separators, those that turn the direction. */
export const acting = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
export const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** Text of somebody else's as it can be shown on a terminal: what would act there is escaped. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
export const visible = (text: string) => text.replace(/[\u0000-\u001f]/g, escaped).replace(acting, escaped);

/** A line of JSON whose strings, once they are parsed and printed, have nothing in them that acts; line breaks stay. */
export const printable = (line: string) => line.replace(/\\(u[\da-f]{4}|.)/gi, (part) => (/^\\(u|[bfr]$)/.test(part) ? `\\${part}` : part));
