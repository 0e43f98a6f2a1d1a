import { stringify } from 'smol-toml';
import { z } from 'zod';
import { type JsonSchema, publicSchema } from '../../protocol/json-schema.ts';
import { configSchema, type Setting, settings, tableSettings } from '../../src/config.ts';
import { line, words } from './fields.ts';

const about: Record<keyof typeof configSchema.shape, string> = {
  server: 'Where the gateway listens, and who may connect.',
  auth: 'Who may use it.',
  livekit:
    'The LiveKit server. If nothing is set, the gateway looks for one on this machine, or starts one if it finds the program. A server elsewhere needs api_key and api_secret.',
  storage: 'Where sessions live; see [Storage](#storage-1) for examples. Set `url`, or storage type and connection string separately.',
  gateway: 'This deployment.',
  workspace: 'Directories that sessions may name as `workspace_dir`. A relative path starts at the working directory of the gateway.',
  microservices: 'The services that join rooms.',
  session: 'Defaults of a session.',
  limits: 'What a peer may do before the gateway refuses or closes. `protocol/PROTOCOL.md` describes what happens at each limit.',
  heartbeat: 'How the gateway detects a dead peer.',
  logging:
    'The log goes to standard output, one entry per line. The gateway never waits for its reader: up to 8 MB are buffered, after which lines are dropped and counted. A line that others can cause is written at most ten times a second.',
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

/** On a network; its addresses and secrets are examples. */
const openExample = `[server]
host = "0.0.0.0"
allowed_hosts = ["gateway.example.com"]
allowed_origins = ["https://app.example.com"]

[auth]
mode = "required"

# users, with tokens that the application's backend makes
[[auth.keys]]
id = "app"
secret_file = "/run/secrets/gateway-app"
kinds = ["user"]

# one for each kind of service
[[auth.keys]]
id = "asr"
secret_file = "/run/secrets/gateway-asr"
kinds = ["service"]
service_prefix = "asr-"
service_types = ["ASR"]

[livekit]
server_url = "wss://livekit.example.com"
api_key = "THE_KEY"
api_secret = "THE_SECRET_OF_AT_LEAST_32_CHARACTERS"

[gateway]
name = "example"
`;

/** Users from an identity provider, and its programs. */
const issuerExample = `[[auth.issuers]]
issuer = "https://login.example.com/"
audience = "https://gateway.example.com"
jwks_url = "https://login.example.com/.well-known/jwks.json"
typ = "at+jwt"
kinds = ["user", "service"]
kind_claim = "gateway_kind"
`;

const ownStorage = `[storage]
providers = ["./storage/mine.js"]
url = "mine://anything"
`;

/** The default of a setting; undefined: it has none. */
const defaultOf = ({ schema }: Pick<Setting, 'schema'>): unknown => schema.safeParse(undefined).data;

/** How a setting is written, in plain words and with its unit. */
function type({ key, schema }: Pick<Setting, 'key' | 'schema'>): string {
  const json = z.toJSONSchema(schema, { io: 'output', unrepresentable: 'any', override: publicSchema }) as JsonSchema & { format?: string };
  // as a list in a file, or as one text in which commas part its items
  if (json.type === 'array') return 'list, or text with commas';
  if (/^max_ttl$/.test(key)) return 'time';
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
  return [`### ${section}`, '', about[section], '', ...head, ...of(section).map(row), '', ...lists(section)].join('\n');
}

type List = (typeof tableSettings)[number];
const listsOf = (section: string) => tableSettings.filter((list) => list.section === section);
const fieldsOf = ({ fields }: List) =>
  Object.entries(fields).map(([key, schema]) => ({ key, schema, about: schema.description ?? '', fallback: defaultOf({ schema }) }));

/** The lists of tables of a section: files alone have them. */
const lists = (section: string): string[] =>
  listsOf(section).flatMap((list) => [
    `#### [[${section}.${list.key}]]`,
    '',
    `${list.about}. Only files have such tables, each any number; those of a later file replace those of an earlier one.`,
    '',
    line(['Key', 'Default', 'Type', 'Meaning']),
    '|---|---|---|---|',
    ...fieldsOf(list).map((field) =>
      line([code(field.key), field.fallback === undefined ? '' : code(toml(field.fallback)), type(field), field.about]),
    ),
    '',
  ]);

/** One table of each list, as comments. */
const listExamples = (section: string): string =>
  listsOf(section)
    .map((list) => {
      const fields = fieldsOf(list).map(({ key, fallback }) => `# ${key} = ${fallback === undefined ? '...' : toml(fallback)}`);
      return `# ${list.about}\n# [[${section}.${list.key}]]\n${fields.join('\n')}\n`;
    })
    .join('');

/** Every setting as it is by default; those without a default behind a comment sign. */
export function exampleToml(): string {
  const setting = (one: Setting) => {
    const fallback = defaultOf(one);
    const written = fallback === undefined ? `# ${one.key} = ...` : `${one.key} = ${toml(fallback)}`;
    return `# ${one.about} (${type(one).replaceAll('`', '')})\n${written}`;
  };
  return sections.map((section) => `[${section}]\n${of(section).map(setting).join('\n')}\n${listExamples(section)}`).join('\n');
}

/** CONFIG.md. */
export const configReference = () => `# Configuration

Made from \`src/config.ts\` by \`npm run docs\`. Nothing needs to be set: the defaults run a gateway on this machine.

## Layers

Each layer overrides those before it, key by key:

1. the defaults
2. the files of \`--config <file>\`, in the order given; each is TOML with the sections below
3. the environment: the section and the key in capitals, as in \`SERVER_PORT\`. Where several names are listed below, the first wins. An empty
   variable counts as unset.
4. the flags: the section and the key with dashes, as in \`--server-port 9000\`

An unknown key or section stops the gateway with exit code 78 and one line that names the file, the key and the nearest known one. An
invalid value of a variable or flag does the same. A variable that looks like a misspelt setting gives a warning. \`session-gateway config print\` shows the effective configuration, secrets masked;
\`session-gateway config check\` refuses what a start would refuse, with the same message; a port in use it only mentions. In a checkout both are
\`npm -s start -- config print\` and \`npm -s start -- config check\`.

White space around a value is ignored. Quotes around it (which \`docker --env-file\` keeps) and control characters in it are refused.

## Settings

${sections.map(table).join('\n')}
## Examples

Every key with its default. Keys without a default are commented out.

\`\`\`toml
${exampleToml()}\`\`\`

For development, with a LiveKit in dev mode. It listens on the network but serves only this machine, because \`auth.mode\` is not set; \`workers\` has
no effect. Both cause a warning.

\`\`\`toml
${seedExample}\`\`\`

On a network, for those who have a credential; see [Authentication](#authentication) and [Proxies, TLS and Docker](#proxies-tls-and-docker).

\`\`\`toml
${openExample}\`\`\`

## Authentication

| \`auth.mode\` | |
|---|---|
| not set | No authentication; only programs of this machine are served. |
| \`none\` | No authentication: whoever reaches the gateway may do everything. |
| \`required\` | Every peer needs a credential, and has the rights that follow from it ([Access](protocol/PROTOCOL.md#access)). |

A gateway key is shaped like LiveKit's: an id and a secret. Whoever holds the secret makes tokens, JWT with HS256, with any server SDK of LiveKit:

\`\`\`ts
import { AccessToken } from 'livekit-server-sdk';

const token = new AccessToken('app', secret, { identity: 'ada', ttl: '1h' });
token.attributes = { 'gateway.kind': 'user' }; // only where the key makes several kinds
await token.toJwt();
\`\`\`

[PROTOCOL.md](protocol/PROTOCOL.md#connect) says what such a token holds, and the three ways to send it. LiveKit's own secret cannot be a gateway key's: a token for a room
would then open the gateway. To replace a secret, add a second table with the same id and the new secret, let the makers of tokens change over, then remove the first.
\`session-gateway keys reload\` has the running gateway read its files again, after each of these steps. Sockets of a key that is gone, or may do less, are closed with 4401, calls that wait end with 401, and services that
it registered over REST are deregistered.

Tokens of an identity provider are taken where \`[[auth.issuers]]\` names it, beside keys or instead of them:

\`\`\`toml
${issuerExample}\`\`\`

A token is good if its signature is right by a key at \`jwks_url\`, its \`alg\`, \`iss\`, \`aud\` and \`typ\` are those of the table, it has begun (30 s are allowed for clocks that differ) and not
ended. The gateway starts without asking the provider. It fetches the keys when a token needs them: at most once in 30 s if a token names an unknown one, and every 10 min. If
that fails it goes on with those it has for another hour. Without any, such tokens get 503, or 4504 over a subprotocol, and the log has one line when it starts and one when it is over.

- **Who somebody is**: with one issuer the identity is \`sub\`. Two issuers could have the same \`sub\` for different people, so all but one need a \`namespace\`: \`corp:ada\` is
  somebody else than \`ada\`. Give it to the one you add: the users of the first then stay who they are. Tokens of the issuer without a namespace that name somebody of another (\`corp:...\`) are refused.
- **Keys beside issuers**: the user \`ada\` of a gateway key and the user \`ada\` of an issuer without a namespace are the same user, with the same sessions. Holders of keys may name anybody, \`corp:ada\` too:
  that is how a backend makes tokens for users who logged in elsewhere.
- **What somebody is**: a user, unless \`kinds\` has others. Let \`kind_claim\` and \`user_claim\` name only claims that users cannot choose for themselves.
- **Programs** of one issuer are told apart by their identity: none takes over, drains or deregisters a service that another one registered.

A reload reads the issuers again as well; those that did not change keep the keys they have fetched.

\`session-gateway services\` and \`sessions\` send the token in the environment variable \`GATEWAY_TOKEN\`, else make one with a key of the configuration whose \`kinds\` has \`operator\`.

## Proxies, TLS and Docker

On a network the gateway needs \`auth.mode = "required"\`, or stands behind something that authenticates.

- **TLS**: \`server.tls_cert\` and \`server.tls_key\` make it serve https and wss, and nothing else, at its port. Both are PEM files; the certificate's has
  its chain. They are looked at every 10 s: a renewed certificate is used for new connections, without a restart, and files that do not fit together change
  nothing and are reported. Within two weeks of its end a certificate is warned of. \`session-gateway services\` and \`sessions\` trust the configured
  certificate, whatever name it has.

- **AUTH_MODE** must be set explicitly if a proxy forwards requests: without it, requests that carry a \`Forwarded\`, \`Via\`, \`X-Real-IP\` or
  \`X-Forwarded-*\` header are refused, because a proxy on this machine would expose a gateway that serves only this machine. The proxy should send one of
  them.
- **Clients**: \`server.trusted_proxies\` lists the proxies' addresses or networks. For a request from one of them the client is the rightmost address in
  \`X-Forwarded-For\` or \`Forwarded\` that is not itself a trusted proxy: it is what the log names. \`X-Forwarded-Proto\` says whether the client came by https, which
  decides on \`Strict-Transport-Security\` and on which pages are the gateway's own. A trusted proxy must set one of the two headers itself, and pass on neither from
  its clients unless it appends to it. If a header is malformed, or the two disagree, the proxy's own address counts, and the log has one warning. For any other peer
  these headers are ignored, but that the addresses in \`/openapi.json\` and \`/asyncapi.json\` follow \`X-Forwarded-Proto\`.
- **Names**: \`server.allowed_hosts\` lists the public host names under which requests arrive. Pages served from them may connect; those of
  other origins need \`server.allowed_origins\`. A request with another Host header gets 403, which is logged.
- **Sockets** need HTTP/1.1, and the proxy must forward the headers \`Upgrade\` and \`Connection\`; without them \`/ws\` answers 426. An idle client is pinged every
  \`heartbeat.client_s\` (25 s), so a proxy may close connections that are idle for 60 s.
- **Calls** are answered after at most \`server.max_wait_s\` (55 s), before a proxy gives up at 60 s. Idle connections are kept for
  \`server.keep_alive_s\` (75 s), which must be longer than in the proxy, or some requests get 502.
- **Health**: \`GET /ready\` answers 200 while the gateway can create sessions, else 503; \`GET /health\` answers 200 as long as the process runs.

| Proxy | Settings |
|---|---|
| nginx | [scripts/proxy/nginx.conf](scripts/proxy/nginx.conf), a file for \`/etc/nginx/conf.d\` |
| HAProxy | [scripts/proxy/haproxy.cfg](scripts/proxy/haproxy.cfg) |
| AWS Application Load Balancer | its idle timeout of 60 s works; health check \`/ready\` |
| Google Cloud Application Load Balancer | the backend service timeout limits the lifetime of a socket: set it to a day (86400 s) instead of the default 30 s; its backend connections are kept for 600 s: \`SERVER_KEEP_ALIVE_S=620\` |

The tests run both files in front of a gateway; the rows for cloud load balancers are taken from the vendors' documentation. Several gateways behind one proxy share a Redis
or PostgreSQL, and need no sticky sessions.

**Docker**: the image listens on 0.0.0.0 inside its container, where the published port reaches it only if \`AUTH_MODE\` is set explicitly. Publish it on loopback
(\`-p 127.0.0.1:8080:8080\`) unless strangers are kept out by other means. Set \`GATEWAY_NAME\`: a new container has a new host name, and rooms that the previous one left behind
are deleted only by a gateway of the same name. \`docker stop\` kills after 10 s, and a shutdown may take 30 s if a service or LiveKit does not answer: \`--stop-timeout 30\`. \`--env-file\` keeps quotes, which are refused.
[compose.yaml](compose.yaml) is a complete example.

## Storage

| \`storage.url\` | Where sessions live |
|---|---|
| \`memory:\` | in this process, and end with it: the default |
| \`redis://127.0.0.1:6379\`, \`redis://user:password@redis.example:6379/2\` | in Redis, 6.2 or newer |
| \`rediss://user:password@redis.example:6380\` | the same over TLS |
| \`postgres://user:password@db.example:5432/gateway\`, also \`postgresql://\` | in PostgreSQL, 13 or newer; its tables are created at startup |
| \`mine://anything\` | where your own provider keeps them; the scheme is the name it was registered under |

Any number of gateways may share a Redis or a PostgreSQL. With the same \`key_prefix\` they are nodes of one deployment and see the same sessions; deployments that
share a storage each need their own.

- \`STORAGE_URL\` sets it. \`REDIS_URL\` alone picks that Redis; ignored if a URL, a connection string or another type is set.
- \`storage_type = "redis"\` with \`connection_string = "redis://127.0.0.1:6379"\` is an alternative to a URL. A type that contradicts the address
  stops the gateway. A connection string that differs from the URL is refused.
- \`SESSION_KEY_PREFIX\` is \`key_prefix\`; \`STORAGE_KEY_PREFIX\` wins over it.
- \`SESSION_DEFAULT_EXPIRY\` is the lifetime in seconds of a session that requests none. It overrides \`ttl_hours\` of any layer; if both are set, a warning says so.
- A storage that is down, or refuses writes or the connection, does not stop the gateway: requests get \`STORAGE_ERROR\` and \`/ready\` answers 503 until it works; the
  log has one line with the reason at the start of the outage and one at its end. An unknown type, an invalid address or an
  unloadable module stops the gateway with exit code 78.
- In a URL, a user name or password is percent-encoded: # is %23, / is %2F, ? is %3F, @ is %40, % is %25.
- URLs and connection strings are masked when the configuration is printed.

Your own provider: each module of \`providers\`, a package or a path relative to the directory the gateway was started in, is loaded at startup and calls
\`registerStoreProvider\` of \`session-gateway/sessions\`, or exports \`register(registerStoreProvider)\`.

\`\`\`toml
${ownStorage}\`\`\`

An acknowledged change is as durable as the storage makes it:

| Storage | An acknowledged change survives |
|---|---|
| memory | nothing: it ends with the process |
| Redis, \`appendonly no\` | a crash of the gateway |
| Redis, \`appendfsync everysec\` | a crash of Redis as well; a power failure may lose the last second |
| Redis, \`appendfsync always\` | a power failure as well |
| PostgreSQL, as installed (\`synchronous_commit = on\`) | a crash and a power failure |

Redis replicates asynchronously: a failover may lose what was acknowledged just before. Redis must run with \`maxmemory-policy noeviction\`:
a session whose record is evicted ends as \`storage_lost\`, and an evicting policy gives a warning in the log and in \`/ready\`. With PostgreSQL a failover
is lossless only with \`synchronous_standby_names\` set.

Nodes signal commits to each other: over LISTEN on PostgreSQL, over the channel \`{key_prefix}wake\` on Redis. PgBouncer works as installed; in
transaction pooling it does not pass LISTEN on, and a Redis user without access to the channel (ACL: \`&*\`) receives nothing. Each node detects that because
its own signal does not come back, warns in the log and in \`/ready\`, and compares versions every 5 s instead.
\`redis-sentinel://user:password@host:port,host:port/name?sentinel_username=...&sentinel_password=...\` names Redis behind Sentinel: user and password of Redis go before the
hosts, those of the Sentinels after the name of the master; omit what does not exist.
\`redis-cluster://host:port,host:port\` names a Cluster; \`pool_max\` in a
PostgreSQL URL is the size of the pool, 10 by default.
`;
