#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { Command, type CommanderError, Option } from 'commander';
import { kinds, scopes } from '../protocol/access.ts';
import { nearest } from '../protocol/nearest.ts';
import { localUrl } from './addresses.ts';
import { type Asker, asker } from './ask.ts';
import { authModeOf } from './auth/modes.ts';
import { systemClock } from './clock.ts';
import { type Config, ConfigError, settings } from './config.ts';
import { type ConfigFile, loadConfig, printConfig, warnings } from './config-load.ts';
import { newKey, newToken } from './key-commands.ts';
import { visible } from './log/visible.ts';
import { authRefused, checkConfig, PortInUse } from './resources.ts';
import { safeText } from './secrets.ts';
import { serve } from './serve.ts';
import { version } from './version.ts';

/** EX_CONFIG of sysexits.h. */
const exitConfig = 78;
/** Sessions that are listed, where there are so many. */
const listed = 10;

const camel = (flag: string) => flag.slice(2).replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
const collect = (value: string, before: string[]) => [...before, value];

const meant = (word: string, known: readonly string[]) => {
  const near = nearest(word, known);
  return near === undefined ? '' : `; did you mean ${near}?`;
};
const commandNames = () => program.commands.map((command) => command.name());

/** What is wrong with a command line, in one line. */
function lineOf(error: CommanderError, command: Command): string {
  const line = error.message.replace(/^error: /, '').replace('\n(', ' (');
  const [, key] = error.code === 'commander.unknownOption' ? (/'--(\w[\w-]*)/.exec(line) ?? []) : [];
  // a setting's key alone, without its section
  const flags = command.options.map(({ long }) => long).filter((long) => key !== undefined && long?.endsWith(`-${key}`));
  return flags.length === 0 ? line : `unknown option '--${key}' (Did you mean ${flags.join(' or ')}?)`;
}

/** A command that takes every setting as a flag. `shown`: those that its help lists; default: all. */
function withSettings(command: Command, shown?: readonly string[]): Command {
  command.option('--config <file>', 'A TOML file; may be given more than once, later ones win', collect, []);
  for (const { flag, env, aliases, about } of settings) {
    const option = new Option(`${flag} <value>`, `${about} [${[env, ...aliases].join(', ')}]`);
    command.addOption(option.hideHelp(shown !== undefined && !shown.includes(flag)));
  }
  return command;
}

/** @param section the only one that the environment and flags set; absent: all */
function configOf(given: Record<string, unknown>, section?: string): Config {
  const taken = settings.filter((setting) => section === undefined || setting.section === section);
  const env = section === undefined ? process.env : Object.fromEntries(taken.map((setting) => [setting.env, process.env[setting.env]]));
  const flags = Object.fromEntries(
    taken.flatMap(({ flag }) => (given[camel(flag)] === undefined ? [] : [[flag.slice(2), String(given[camel(flag)])]])),
  );
  return loadConfig(env, flags, (given.config as string[]).map(readConfig));
}

function readConfig(name: string): ConfigFile {
  let bytes: Buffer;
  try {
    bytes = readFileSync(name);
  } catch (error) {
    throw new ConfigError(`--config ${name}: cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  try {
    return { name, text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
  } catch {
    const isUtf16 = /^(fffe|feff)/.test(bytes.toString('hex', 0, 2));
    throw new ConfigError(`--config ${name}: is not UTF-8${isUtf16 ? ' but UTF-16' : ''}: save it as UTF-8`);
  }
}

/** A command whose reader goes away is done; a gateway goes on. */
const exitUnread = (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1);
process.stdout.on('error', exitUnread);
const say = (text: string): void => void process.stdout.write(`${text}\n`);

const warn = (config: Config) => {
  for (const warning of warnings(config)) process.stderr.write(`session-gateway: warning: ${warning}\n`);
};

/** Where a gateway with these settings can be reached from here. */
function configuredUrl(given: Record<string, unknown>): string {
  const { host, port, tls_cert } = configOf(given).server;
  if (port === 0) throw new ConfigError('--url is required: server.port is 0, so the port is not known');
  return localUrl({ host, port, isTls: tls_cert !== undefined });
}

/** The address of a gateway's REST API, also where its socket's, or only host and port, was given. */
function restUrl(given: string): string {
  const url = /^[a-z][a-z0-9+.-]*:\/\//i.test(given) ? given : `http://${given}`;
  if (given.includes('@')) throw new ConfigError('--url: must not contain a user name or password, which the gateway does not know');
  if (!/^(https?|wss?):/i.test(url) || !URL.canParse(url))
    throw new ConfigError(`--url ${given}: is not an address: write http://host:port`);
  return url.replace(/^ws/i, 'http').replace(/(\/ws)?\/*$/, '');
}

/** The gateway that a command asks, and as whom: GATEWAY_TOKEN, else what the configuration can make. */
async function askerOf(given: Record<string, unknown>): Promise<Asker> {
  const isGiven = typeof given.url === 'string';
  const url = isGiven ? restUrl(String(given.url)) : configuredUrl(given);
  const certificate = isGiven ? undefined : configOf(given).server.tls_cert;
  const token = process.env.GATEWAY_TOKEN?.trim();
  if (token) return asker({ url, certificate, candidates: [{ authorization: `Bearer ${token}` }] });
  // beside an address the rest of the configuration does not matter, be it faulty
  const config = configOf(given, 'auth');
  const candidates = await Promise.resolve(authModeOf(config.auth).headers(config.auth, systemClock)).catch((error) => {
    throw authRefused(config, error);
  });
  return asker({ url, certificate, candidates });
}

/** Asks a running gateway and prints its list, a line each. */
async function list(what: 'microservices' | 'sessions', columns: readonly string[], given: Record<string, unknown>): Promise<void> {
  const ask = await askerOf(given);
  const items: Record<string, unknown>[] = [];
  // a page may end before it holds as many as it could
  for (let cursor: string | undefined; ; ) {
    const page = await ask(`${what}${cursor === undefined ? '' : `?cursor=${cursor}`}`);
    if (!Array.isArray(page.items)) throw new ConfigError('the answer is not a list: is it a session gateway?');
    items.push(...page.items);
    cursor = page.next_cursor as string | undefined;
    if (cursor === undefined || (what === 'sessions' && items.length >= listed)) break;
  }
  const rows = [columns, ...items.map((item) => columns.map((column) => visible(String(item[column] ?? '-'))))];
  const widths = columns.map((_, i) => Math.max(...rows.map((row) => (row[i] ?? '').length)));
  for (const row of rows)
    say(
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    );
}

const program = new Command('session-gateway')
  .description('A WebSocket-first session gateway for voice-AI and robot backends on LiveKit')
  .version(version)
  .addHelpText('after', '\nAll settings, as flags and environment variables: session-gateway serve --help');
withSettings(program.command('serve', { isDefault: true }).description('Run the gateway (default)'))
  .allowExcessArguments()
  .action((given, { args: [word] }: Command) => {
    if (word !== undefined) throw new ConfigError(`there is no command ${word}${meant(word, commandNames())}`);
    process.stdout.off('error', exitUnread);
    return serve(() => configOf(given));
  });
const config = program.command('config').description('Print or validate the configuration');
withSettings(config.command('print').description('Print the effective configuration as TOML, secrets masked')).action((given) => {
  const config = configOf(given);
  warn(config);
  say(printConfig(config).trimEnd());
});
withSettings(config.command('check').description('Validate the configuration')).action(async (given) => {
  const config = configOf(given);
  let inUse = '';
  await checkConfig(config).catch((error) => {
    // most likely by the gateway that runs with it
    if (!(error instanceof PortInUse)) throw error;
    inUse = `; port ${config.server.port} is currently in use`;
  });
  warn(config);
  say(`the configuration is valid${inUse}`);
});
const url = ['--url <url>', 'Address of the running gateway; default: the configured one, http://127.0.0.1:8080'] as const;
const where = ['--server-host', '--server-port'];
withSettings(program.command('services'), where)
  .description('List the registered services of a running gateway')
  .option(...url)
  .action((given) => list('microservices', ['service_id', 'status', 'availability', 'sessions', 'endpoint'], given));
withSettings(program.command('sessions'), where)
  .description('List the newest sessions of a running gateway')
  .option(...url)
  .action((given) => list('sessions', ['session_id', 'status', 'user_identity', 'room_name', 'created_at', 'end_reason'], given));

const keys = program.command('keys').description('Make keys and tokens; have a running gateway read its keys again');
keys
  .command('create')
  .description('Print a new [[auth.keys]] for a configuration file. Needs no gateway')
  .option('--id <id>', 'Default: a new one')
  .option('--kinds <kinds>', `Whom its tokens are for, comma-separated: ${kinds.join(', ')}`, 'user')
  .option('--scopes <scopes>', `What its operators may do, comma-separated: ${Object.keys(scopes).join(', ')}`)
  .option('--service-prefix <prefix>', 'How the ids of its services start')
  .action((given) => say(newKey(given)));
withSettings(keys.command('token').description('Print a token made with a key of the configuration'), [])
  .option('--key <id>', 'Default: the first')
  .requiredOption('--identity <identity>', 'Whom it is for')
  .option('--kind <kind>', 'Default: the least of the kinds of the key')
  .option('--user <identity>', 'The user of a device')
  .option('--ttl <time>', 'How long it is good: 90s, 15m, 24h, 30d; default: 1h')
  .action(async (given) => say(await newToken(configOf(given, 'auth').auth, given, systemClock.now())));
withSettings(keys.command('reload').description('Have a running gateway read the keys in its configuration again'), where)
  .option(...url)
  .action(async (given) => {
    const { closed_sockets } = await (await askerOf(given))('auth/reload', 'POST');
    say(`the keys were read again; ${closed_sockets} sockets were closed`);
  });

/** The same arguments with flags that stand before a command behind it, which is where they are looked for. */
function commandFirst(given: readonly string[]): string[] {
  let at = 0;
  // each of these takes a value
  while (/^--(?!help$|version$)/.test(given[at] ?? '')) at += given[at]?.includes('=') ? 1 : 2;
  const command = program.commands.find((one) => one.name() === given[at]);
  const words = command === undefined ? 0 : command.commands.some((one) => one.name() === given[at + 1]) ? 2 : 1;
  return [...given.slice(at, at + words), ...given.slice(0, at), ...given.slice(at + words)];
}

for (const command of [program, ...program.commands, ...config.commands, ...keys.commands]) {
  command.configureOutput({ outputError: () => {} }).exitOverride((error) => {
    if (error.exitCode === 0) process.exit(0);
    throw new ConfigError(
      error.code === 'commander.help'
        ? `${command.name()}: expected ${command.commands.map((one) => one.name()).join(' or ')}`
        : lineOf(error, command),
    );
  });
}
try {
  await program.parseAsync(commandFirst(process.argv.slice(2)), { from: 'user' });
} catch (error) {
  if (!(error instanceof ConfigError)) throw error;
  process.stderr.write(`session-gateway: ${safeText(error.message)}\n`);
  process.exit(exitConfig);
}
