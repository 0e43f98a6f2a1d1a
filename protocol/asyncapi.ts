import { allMessages, hasId, type Message } from './messages.ts';
import { frameSchemas } from './published.ts';
import { type RequestRow, requests } from './requests.ts';
import { type Role, roles } from './roles.ts';
import { PROTOCOL_VERSION, SUBPROTOCOL } from './version.ts';

const rows = Object.entries(requests) as [string, RequestRow][];

/** Who sends a request, or is sent anything else. */
function peers({ direction, type }: Message): readonly Role[] {
  switch (direction) {
    case 'requests':
      return requests[type as keyof typeof requests].from;
    case 'answers':
      return roles.filter((role) => rows.some(([, row]) => row.reply === type && row.from.includes(role)));
    case 'commands':
      return ['service'];
    case 'controls':
      return roles;
    default:
      return ['client'];
  }
}

const inChannel = (name: string) => ({ $ref: `#/channels/socket/messages/${name}` });
const channel = { $ref: '#/channels/socket' };

function component(message: Message) {
  const { direction, type, name, about } = message;
  const way = direction === 'requests' ? 'From' : 'To';
  return {
    name: type,
    title: name,
    summary: about,
    description: `${way} a ${peers(message).join(' or a ')}.`,
    contentType: 'application/json',
    ...(hasId(message) && { correlationId: { location: '$message.payload#/id' } }),
    payload: { $ref: `#/components/schemas/${name}` },
  };
}

/** One for each request, with what may come back, and one for each message that is not an answer. */
function operation(message: Message) {
  const { direction, type, name, about } = message;
  const base = { channel, summary: about, messages: [inChannel(name)] };
  if (direction !== 'requests') return { action: 'send', ...base };
  const { reply } = requests[type as keyof typeof requests] as RequestRow;
  return {
    action: 'receive',
    ...base,
    reply: { channel, messages: [reply, 'Error'].flatMap((answer) => (answer ? inChannel(answer) : [])) },
  };
}

/** The `servers` of the document, by where it is served. */
export function asyncapiServers(url: string) {
  const { host, protocol } = new URL(url);
  return {
    gateway: { host, protocol: protocol === 'https:' ? 'wss' : 'ws', description: 'Where it is served; by default localhost:8080' },
  };
}

/** The socket side as an AsyncAPI document, from the gateway's side: it receives requests and sends the rest. `version`: the gateway's own. */
export function asyncapi(version: string) {
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Session Gateway',
      version,
      description: `The messages of /ws, protocol version ${PROTOCOL_VERSION}, subprotocol ${SUBPROTOCOL} (optional). What they mean and in which order they come stands in PROTOCOL.md. The REST side: /openapi.json.`,
      license: { name: 'MIT' },
    },
    defaultContentType: 'application/json',
    servers: asyncapiServers('http://localhost:8080'),
    channels: {
      socket: {
        address: '/ws',
        description: 'One JSON object in each text frame',
        messages: Object.fromEntries(allMessages.map(({ name }) => [name, { $ref: `#/components/messages/${name}` }])),
        bindings: { ws: { method: 'GET' } },
      },
    },
    operations: Object.fromEntries(
      allMessages.filter(({ direction }) => direction !== 'answers').map((message) => [message.name, operation(message)]),
    ),
    components: {
      schemas: frameSchemas('#/components/schemas/'),
      messages: Object.fromEntries(allMessages.map((message) => [message.name, component(message)])),
    },
  };
}
