import { Configuration, type ResponseError, SessionsApi } from './index';

async function main() {
  const api = new SessionsApi(new Configuration({ basePath: process.argv[2] ?? '' }));
  const made = await api.createSession({
    sessionRequest: {
      userIdentity: 'ada',
      metadata: { tags: ['demo'], robot: 'r2', floor: 3, durationLimit: 900 },
      requiredServices: [],
      optionalServices: ['asr', { type: 'TTS' }],
    },
  });
  const id = made.sessionId;
  await api.updateSession({ id, updateSessionBody: { visibility: 'shared', metadataUpdates: { gone: null } } });
  const { status, metadata, visibility } = await api.getSession({ id });
  const error = await api.getSession({ id: 'nothing' }).catch((refusal: ResponseError) => refusal.response.json());
  console.log(JSON.stringify({ status, tags: metadata.tags, robot: metadata.robot, floor: metadata.floor, visibility, error: error.code }));
}
void main();
