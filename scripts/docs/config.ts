import { stringify } from 'smol-toml';
import { z } from 'zod';
import { type JsonSchema, plainer } from '../../protocol/frames.ts';
import { configSchema, type Setting, settings } from '../../src/config.ts';
import { line, words } from './fields.ts';

const about: Record<keyof typeof configSchema.shape, string> = {
  server: 'Where the gateway listens, and for whom.',
  auth: 'Who may use it.',
  livekit:
    'The LiveKit server. Where nothing is set here the gateway looks for one on this machine, and starts one if it finds the program.',
  storage: 'Where sessions live.',
  gateway: 'This deployment.',
  workspace: "Folders that sessions may name as `workspace_dir`. A relative one is below the gateway's own.",
  microservices: 'The services that join rooms.',
  session: 'What holds for a session that asks for nothing else.',
  limits: 'What a peer may do before the gateway refuses or closes. What happens at each stands in `protocol/PROTOCOL.md`.',
  heartbeat: 'When the gateway looks whether a peer is still there.',
  logging: 'The log, on standard output.',
  vector: 'Asked for by older configurations; all it does is one line of warning.',
};

/** Units by the end of a key. */
const units: [end: RegExp, unit: string][] = [
  [/(_s|_timeout|^timeout)$/, 'seconds'],
  [/_hours$/, 'hours'],
  [/_bytes$/, 'bytes'],
];

const seedExample = `[server]
host = "0.0.0.0"
port = 8080
workers = 4

[livekit]
server_url = "http://localhost:7880"
api_key = "devkey"
api_secret = "secret"

[storage]
storage_type = "memory"

[microservices]
registration_timeout = 30
join_timeout = 60

[logging]
level = "debug"
format = "json"
`;

/** What holds where nothing is set; undefined: nothing does. */
const defaultOf = ({ schema }: Setting): unknown => schema.safeParse(undefined).data;

/** How a setting is written, in plain words and with its unit. */
function type({ key, schema }: Setting): string {
  const json = z.toJSONSchema(schema, { io: 'output', unrepresentable: 'any', override: plainer }) as JsonSchema & { format?: string };
  // as a list in a file, or as one text in which commas part its items
  if (json.anyOf?.some((kind) => kind.type === 'array')) return 'list, or text with commas';
  if (json.format === 'uri') return 'URL';
  const unit = units.find(([end]) => end.test(key))?.[1];
  const { minLength: _, pattern: __, ...shown } = json;
  const said = words(shown);
  if (unit === undefined || !/number/.test(said)) return said === 'string' ? 'text' : said.replace(/^boolean$/, 'true or false');
  return said.replace(/^(?:whole )?number/, (kind) => (kind === 'whole number' ? `whole ${unit}` : unit));
}

const code = (text: string) => `\`${text}\``;
const toml = (value: unknown) => stringify({ value }).trim().replace('value = ', '');

function row(setting: Setting): string {
  const fallback = defaultOf(setting);
  return line([
    code(setting.key),
    [setting.env, ...setting.aliases].map(code).join(', '),
    code(setting.flag),
    fallback === undefined ? '' : code(toml(fallback)),
    type(setting),
    setting.about,
  ]);
}

const sections = Object.keys(configSchema.shape) as (keyof typeof about)[];
const of = (section: string) => settings.filter((setting) => setting.section === section);

function table(section: keyof typeof about): string {
  const head = [line(['Key', 'Environment', 'Flag', 'Default', 'Type', 'Meaning']), '|---|---|---|---|---|---|'];
  return [`### ${section}`, '', about[section], '', ...head, ...of(section).map(row), ''].join('\n');
}

/** Every setting as it is by default; those without a default behind a comment sign. */
export function exampleToml(): string {
  const setting = (one: Setting) => {
    const fallback = defaultOf(one);
    const written = fallback === undefined ? `# ${one.key} = ...` : `${one.key} = ${toml(fallback)}`;
    return `# ${one.about} (${type(one).replaceAll('`', '')})\n${written}`;
  };
  return sections.map((section) => `[${section}]\n${of(section).map(setting).join('\n')}\n`).join('\n');
}

/** CONFIG.md. */
export const configReference = () => `# Configuration

Made from \`src/config.ts\` by \`npm run docs\`. Nothing must be set: the defaults run a gateway on this machine.

## How it is put together

Each layer wins over those before it, key by key:

1. the defaults
2. the files of \`--config <file>\`, in the order they are named; each is TOML with the sections below
3. the environment: the section and the key in capitals, as in \`SERVER_PORT\`. Where several names stand below, the first wins. An empty
   variable counts as not set.
4. the flags: the section and the key with dashes, as in \`--server-port 9000\`

A key or section that does not exist stops the gateway with exit code 78 and one line that names the file, the key and the nearest known one. A
variable or flag with a wrong value does the same. \`session-gateway config print\` shows what holds, secrets masked;
\`session-gateway config check\` says whether it can be used.

## Settings

${sections.map(table).join('\n')}
## Examples

Every key with its default. A line that begins with \`# key =\` has none.

\`\`\`toml
${exampleToml()}\`\`\`

For development, open to the network, with a LiveKit in its dev mode. More than one worker needs shared storage: here one runs, and a warning
says so. Listening on the network without \`auth.mode\` only this machine is served.

\`\`\`toml
${seedExample}\`\`\`
`;
