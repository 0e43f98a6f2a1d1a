import { changes } from '../protocol/nearest.ts';
import { type Setting, settings } from './config.ts';

/** Sections whose names other programs hardly use: a variable that begins with one, and is none of theirs, was meant for the gateway. */
const ownSections = ['livekit', 'microservices', 'limits', 'heartbeat'];
/** What LiveKit's server, command line and agents read, and our own scripts. */
const ofLiveKit =
  /^LIVEKIT_(SERVER_BIN|KEYS|KEY_FILE|(AGENTS?|BIND|CLI|CLOUD|CONFIG|DEV(ELOPMENT)?|EGRESS|ENABLE|IDENTITY|INFERENCE|INGRESS|JWT|LIMIT|LOG|LOGGING|METRICS|NODE|PROJECT|PROMETHEUS|PSRPC|RECORD(ER|ING)|REDIS|REGION|REMOTE|ROOM|RTC|SANDBOX|SIGNAL|SIP|TOKEN|TURN|WEBHOOKS?|WHIP)(_\w+)?)$/;
/** What Kubernetes sets for a Service whose name begins like a section. */
export const ofKubernetes = (name: string, value = '') =>
  /_SERVICE_(HOST|PORT)(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?$/.test(name) || /^(tcp|udp|sctp):\/\//.test(value);

/** Variables that were most likely meant as a setting and are none; other programs have variables that begin alike. */
export function straysOf(env: NodeJS.ProcessEnv): string[] {
  const known = new Set(settings.flatMap(({ env, aliases }) => [env, ...aliases]));
  return Object.keys(env).flatMap((name) => {
    const upper = name.toUpperCase();
    if (known.has(name) || ofLiveKit.test(upper) || ofKubernetes(upper, env[name])) return [];
    const meant = settings.find((setting) => isLike(upper, setting));
    if (meant) return [`${name} is not a setting; did you mean ${meant.env}?`];
    const section = ownSections.find((section) =>
      [section, section.replace(/s$/, '')].some((word) => upper.startsWith(`${word.toUpperCase()}_`)),
    );
    return section === undefined ? [] : [`${name} is not a setting; CONFIG.md lists those of ${section}`];
  });
}

/** Whether a variable's name is a setting's with a slip of the hand, or lacks a word of it. */
function isLike(name: string, { section, key, env, aliases }: Setting): boolean {
  const prefix = `${section}_`.toUpperCase();
  // of the names that other programs use as well (LOG_LEVEL) those are none that are like them
  if ([env, ...aliases].some((other) => other.startsWith(prefix) && slipped(name, other, key.length > 6 ? 2 : 1))) return true;
  if (!name.startsWith(prefix)) return false;
  const words = key.toUpperCase().split('_');
  const given = name.slice(prefix.length).split('_');
  // STORAGE_TIMEOUT is STORAGE_TIMEOUT_S, but STORAGE_KEY no STORAGE_KEY_PREFIX
  const noun = words.findLast((word) => word !== 'S') ?? '';
  return given.includes(noun) && given.every((word) => words.includes(word));
}

/** Whether at most so many letters differ, or two neighbours changed places. */
function slipped(name: string, meant: string, most: number): boolean {
  if (Math.abs(name.length - meant.length) > most) return false;
  const slips = changes(name, meant);
  return slips <= most || (slips === 2 && [...name].sort().join('') === [...meant].sort().join(''));
}
