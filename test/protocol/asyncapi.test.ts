import { readFileSync } from 'node:fs';
import { Parser } from '@asyncapi/parser';
import { describe, expect, test } from 'vitest';
import { asyncapi } from '../../protocol/asyncapi.ts';
import { frameSchema } from '../../protocol/json-schema.ts';
import { allMessages } from '../../protocol/messages.ts';
import { type RequestRow, requests } from '../../protocol/requests.ts';
import { version } from '../../src/version.ts';
import { startGateway } from '../support/gateway.ts';

const document = asyncapi(version);
const inChannel = (name: string) => ({ $ref: `#/channels/socket/messages/${name}` });
/** 0: an error; 1: a warning. What is milder is taste. */
const faults = async (text: string) => {
  const { diagnostics } = await new Parser().parse(text);
  return diagnostics.filter(({ severity }) => severity < 2).map(({ message, path }) => `${path.join('.')}: ${message}`);
};

test('it is valid AsyncAPI 3.0 by the official parser', async () => {
  expect(await faults(JSON.stringify(document))).toEqual([]);
});

test('the parser refuses a document that is not', async () => {
  expect(await faults(JSON.stringify({ ...document, operations: { broken: { action: 'shout' } } }))).not.toEqual([]);
});

test('every message is in it with its schema, and no other', () => {
  expect(Object.keys(document.components.messages)).toEqual(allMessages.map(({ name }) => name));
  expect(Object.keys(document.channels.socket.messages)).toEqual(allMessages.map(({ name }) => name));
  for (const message of allMessages) {
    expect(document.components.messages[message.name]).toMatchObject({
      name: message.type,
      payload: { $ref: `#/components/schemas/${message.name}` },
    });
    const { title, required, properties = {} } = frameSchema(message);
    const schema = document.components.schemas[message.name];
    expect(schema).toMatchObject({ title, required });
    expect(Object.keys(schema?.properties ?? {})).toEqual(Object.keys(properties));
  }
});

test('every message but an answer has its operation: requests are received, the rest is sent', () => {
  const wanted = allMessages
    .filter(({ direction }) => direction !== 'answers')
    .map(({ name, direction }) => [name, direction === 'requests' ? 'receive' : 'send']);
  expect(Object.entries(document.operations).map(([name, { action }]) => [name, action])).toEqual(wanted);
  for (const [name, { messages }] of Object.entries(document.operations)) expect(messages).toEqual([inChannel(name)]);
});

describe.each(Object.entries(requests) as [string, RequestRow][])('%s', (type, { from, reply }) => {
  test('is answered by its answer or by an Error', () => {
    expect(document.operations[type]).toMatchObject({
      reply: { messages: [...(reply ? [inChannel(reply)] : []), inChannel('Error')] },
    });
  });

  test('says who sends it', () => {
    expect(document.components.messages[type]?.description).toBe(`From a ${from.join(' or a ')}.`);
  });
});

test.each([
  ['SessionEnded', 'To a client.'],
  ['JoinRoomRequest', 'To a service.'],
  ['GetSessionResponse', 'To a client or a service.'],
  ['AddMessageResponse', 'To a client or a service.'],
  ['WatchResponse', 'To a client.'],
  ['MessageAdded', 'To a client.'],
  ['RegisterServiceResponse', 'To a service.'],
  ['ServiceProgressNotice', 'To a client.'],
  ['Hello', 'To a client or a service.'],
])('%s says who is sent it', (name, said) => {
  expect(document.components.messages[name]?.description).toBe(said);
});

test('the gateway serves it, and the file says the same', async () => {
  const { url } = await startGateway();
  const response = await fetch(`${url}/asyncapi.json`);
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toBe('application/json');
  const file = JSON.parse(readFileSync(new URL('../../protocol/asyncapi.json', import.meta.url), 'utf8'));
  expect(file.servers.gateway).toMatchObject({ host: 'localhost:8080', protocol: 'ws' });
  file.servers.gateway.host = new URL(url).host;
  expect(await response.json(), 'run npm run docs').toEqual(file);
});
