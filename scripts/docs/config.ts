import { stringify } from 'smol-toml';
import { z } from 'zod';
import { type JsonSchema, publicSchema } from '../../protocol/json-schema.ts';
import { configSchema, type Setting, settings } from '../../src/config.ts';
import { line, words } from './fields.ts';

const about: Record<keyof typeof configSchema.shape, string> = {
  server: 'Where the gateway listens, and for whom.',
  auth: 'Who may use it.',
  livekit:
    'The LiveKit server. Where nothing is set here the gateway looks for one on this machine, and starts one if it finds the program. One that is not on this machine needs api_key and api_secret.',
  storage:
    'Where sessions live; examples stand under [Storage](#storage-1). `url` says it all; type and connection string are the same in two parts.',
  gateway: 'This deployment.',
  workspace: "Folders that sessions may name as `workspace_dir`. A relative one is below the gateway's own.",
  microservices: 'The services that join rooms.',
  session: 'What holds for a session that asks for nothing else.',
  limits: 'What a peer may do before the gateway refuses or closes. What happens at each stands in `protocol/PROTOCOL.md`.',
  heartbeat: 'When the gateway looks whether a peer is still there.',
  logging:
    'The log, one line each, on standard output. The gateway never waits for its reader: what is not read is kept up to 8 MB, after which lines are lost, and counted. A line that others can cause is written ten times a second at most.',
  vector: 'Accepted for compatibility; logs a warning and has no effect.',
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

/** Open to the network; its addresses are examples. */
const openExample = `[server]
host = "0.0.0.0"
allowed_hosts = ["gateway.example.com"]
allowed_origins = ["https://app.example.com"]

[auth]
mode = "none"

[livekit]
server_url = "wss://livekit.example.com"
api_key = "THE_KEY"
api_secret = "THE_SECRET_OF_AT_LEAST_32_CHARACTERS"

[gateway]
name = "example"
`;

const ownStorage = `[storage]
providers = ["./storage/mine.js"]
url = "mine://anything"
`;

/** What holds where nothing is set; undefined: nothing does. */
const defaultOf = ({ schema }: Setting): unknown => schema.safeParse(undefined).data;

/** How a setting is written, in plain words and with its unit. */
function type({ key, schema }: Setting): string {
  const json = z.toJSONSchema(schema, { io: 'output', unrepresentable: 'any', override: publicSchema }) as JsonSchema & { format?: string };
  // as a list in a file, or as one text in which commas part its items
  if (json.type === 'array') return 'list, or text with commas';
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
variable or flag with a wrong value does the same. A variable that looks like a misspelt setting is a warning. \`session-gateway config print\` shows the effective configuration, secrets masked;
\`session-gateway config check\` refuses what a start would refuse, with the same line.

White space around a value does not count. Quotes around it (which \`docker --env-file\` keeps) and control characters in it are refused.

## Settings

${sections.map(table).join('\n')}
## Examples

Every key with its default. A line that begins with \`# key =\` has none.

\`\`\`toml
${exampleToml()}\`\`\`

For development, with a LiveKit in its dev mode. It listens on the network but serves only this machine, since \`auth.mode\` is not set; \`workers\` has
no effect. A warning says each.

\`\`\`toml
${seedExample}\`\`\`

Open to the network: whoever reaches it may do everything, see [Proxies, TLS and Docker](#proxies-tls-and-docker).

\`\`\`toml
${openExample}\`\`\`

## Proxies, TLS and Docker

Nothing authenticates yet, and the gateway does not speak TLS. On a network it belongs behind something that does both, or on a network where
everybody may do everything.

- **AUTH_MODE** must be set explicitly as soon as a proxy passes requests on: without it requests that carry a \`Forwarded\`, \`Via\`, \`X-Real-IP\` or
  \`X-Forwarded-*\` header are refused, since a proxy on this machine would open a gateway that serves only this machine. The proxy should send one of
  them. The gateway takes nothing from these headers: the addresses it logs and counts are the proxy's.
- **Names**: \`server.allowed_hosts\` lists the public names in the Host header that reaches the gateway. Pages of that name may connect; those of
  other origins need \`server.allowed_origins\`. Requests that reach it under another name get 403, and the log says so.
- **Sockets** need HTTP/1.1 and the headers \`Upgrade\` and \`Connection\` passed on; without them \`/ws\` answers 426. An idle client is pinged every
  \`heartbeat.client_s\` (25 s), so that a proxy may close connections that are idle for 60 s.
- **Calls** are answered after at most \`server.max_wait_s\` (55 s), before a proxy gives up at 60 s. Idle connections are kept for
  \`server.keep_alive_s\` (75 s), which must be longer than the proxy keeps them, or some requests get 502.
- **Health**: \`GET /ready\` answers 200 while the gateway can open sessions, else 503; \`GET /health\` answers 200 as long as the process runs.

| in front | what to set |
|---|---|
| nginx | [scripts/proxy/nginx.conf](scripts/proxy/nginx.conf), a file for \`/etc/nginx/conf.d\` |
| HAProxy | [scripts/proxy/haproxy.cfg](scripts/proxy/haproxy.cfg) |
| AWS Application Load Balancer | its idle timeout of 60 s fits; health check \`/ready\` |
| Google Cloud Application Load Balancer | the backend service's timeout is the longest life of a socket: set it to a day (86400 s), not the default 30 s; its connections to a backend are kept for 600 s: \`SERVER_KEEP_ALIVE_S=620\` |

The two files are run in front of a gateway by the tests; the table's cloud rows are taken from the vendors' documentation. Several gateways behind one proxy share a Redis
or PostgreSQL, and need no sticky sessions.

**Docker**: the image listens on 0.0.0.0 inside its container, where only \`AUTH_MODE\`, set explicitly, opens it to the published port. Publish it on loopback
(\`-p 127.0.0.1:8080:8080\`) unless strangers are kept out otherwise. Set \`GATEWAY_NAME\`: a new container has a new host name, and rooms that the last one left
are deleted only by a gateway of its name. \`docker stop\` kills after 10 s, and a stop may take 30 s where a service or LiveKit does not answer: \`--stop-timeout 30\`. \`--env-file\` keeps quotes, which are refused.
[compose.yaml](compose.yaml) is a whole example.

## Storage

| \`storage.url\` | Sessions live |
|---|---|
| \`memory:\` | in this process, and end with it: the default |
| \`redis://127.0.0.1:6379\`, \`redis://user:password@redis.example:6379/2\` | in Redis, 6.2 or newer |
| \`rediss://user:password@redis.example:6380\` | the same over TLS |
| \`postgres://user:password@db.example:5432/gateway\`, also \`postgresql://\` | in PostgreSQL, 13 or newer; its tables are made at the start |
| \`mine://anything\` | where a provider of your own keeps them; the scheme is the name it was registered under |

Any number of gateways may share a Redis or a PostgreSQL. With one \`key_prefix\` they are nodes of one deployment and see the same sessions; deployments that
share a storage each need one of their own.

- \`STORAGE_URL\` sets it. \`REDIS_URL\` alone picks that Redis; ignored if a URL, a connection string or another type is set.
- \`storage_type = "redis"\` with \`connection_string = "redis://127.0.0.1:6379"\` is the same in two parts. A type beside the address of
  another storage stops the gateway. A connection string beside a different URL is refused.
- \`SESSION_KEY_PREFIX\` is \`key_prefix\`; \`STORAGE_KEY_PREFIX\` wins over it.
- \`SESSION_DEFAULT_EXPIRY\` is how long a session lasts that asks for no time of its own, in seconds. It overrides \`ttl_hours\`, whatever layer that comes from; where both are set, a warning says so.
- A storage that is down, or refuses writes, does not stop the gateway: requests get \`STORAGE_ERROR\` and \`/ready\` answers 503 until it works; the
  log has one line with the reason at the start and one at the end. An unknown type, an address that cannot be right or an
  unloadable module stops the gateway with exit code 78.
- In a URL, a user name or password is percent-encoded: # is %23, / is %2F, ? is %3F, @ is %40, % is %25.
- URLs and connection strings are masked where the configuration is printed.

A provider of your own: each module of \`providers\`, a package or a path from where the gateway was started, is loaded at the start and calls
\`registerStoreProvider\` of \`session-gateway/sessions\`, or exports \`register(registerStoreProvider)\`.

\`\`\`toml
${ownStorage}\`\`\`

What the gateway acknowledged is as durable as the storage makes it:

| storage | an acknowledged change survives |
|---|---|
| memory | nothing: it ends with the process |
| Redis, \`appendonly no\` | a crash of the gateway |
| Redis, \`appendfsync everysec\` | a crash of Redis as well; a power cut may cost its last second |
| Redis, \`appendfsync always\` | a power cut as well |
| PostgreSQL, as installed (\`synchronous_commit = on\`) | a crash and a power cut |

Replicas of Redis follow later: a failover may lose what was acknowledged just before. Redis must run with \`maxmemory-policy noeviction\`:
a session whose record is dropped ends as \`storage_lost\`, and an evicting policy is a warning in the log and in \`/ready\`. On PostgreSQL a failover
loses nothing only with \`synchronous_standby_names\` set.

Nodes signal commits to each other: over LISTEN on PostgreSQL, over the channel \`{key_prefix}wake\` on Redis. PgBouncer works as installed; in
transaction pooling LISTEN does not pass it, and a Redis user without the right to the channel (ACL: \`&*\`) hears nothing. Each node finds that out by
a signal of its own that does not come back, warns in the log and in \`/ready\`, and compares versions every 5 s instead.
\`redis-sentinel://user:password@host:port,host:port/name?sentinel_username=...&sentinel_password=...\` names Redis behind Sentinel: in front of the
hosts stand user and password of Redis, behind the name of the master those of the Sentinels, each only where there is one.
\`redis-cluster://host:port,host:port\` names a Cluster; \`pool_max\` in a
PostgreSQL URL is the size of the pool, 10 where it is absent.
`;
