import createClient from 'openapi-fetch';
import type { components, paths } from './gateway.d.ts';

const client = createClient<paths>({ baseUrl: process.argv[2] ?? '' });
const wish: components['schemas']['SessionRequest'] = {
  user_identity: 'ada',
  metadata: { tags: ['demo'], robot: 'r2', floor: 3, duration_limit: 900 },
  required_services: [],
  optional_services: ['asr', { type: 'TTS' }],
};
const made = await client.POST('/api/v1/sessions', { body: wish });
const id = made.data?.session_id ?? '';
await client.PATCH('/api/v1/sessions/{id}', { params: { path: { id } }, body: { visibility: 'shared', metadata_updates: { gone: null } } });
const { data } = await client.GET('/api/v1/sessions/{id}', { params: { path: { id } } });
const missing = await client.GET('/api/v1/sessions/{id}', { params: { path: { id: 'nothing' } } });
const { tags, robot, floor } = data?.metadata ?? {};
console.log(JSON.stringify({ status: data?.status, tags, robot, floor, visibility: data?.visibility, error: missing.error?.code }));
