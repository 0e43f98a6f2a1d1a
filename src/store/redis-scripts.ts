import { createHash } from 'node:crypto';

/** A Lua script and the name the server keeps it by. All keys of one call lie in one hash slot. */
export interface Script {
  readonly text: string;
  readonly sha1: string;
}

const script = (text: string): Script => ({ text, sha1: createHash('sha1').update(text).digest('hex') });

/** What the index knows of a record; read back by every script that changes one, in this order. */
const state = `redis.call('HMGET', KEYS[1], 'version', 'due', 'created_at', 'status', 'owner', 'was')`;

/**
 * The commit. Its first write is one that a full server refuses, so that all of it happens or nothing.
 * Keys: record, log, messages, message ids, denied claims. Arguments: expected, version, commit id, record, claims, due, created_at,
 * status, owner, channel, session id, events to keep; then seq, event and message id (empty: not a message) of each event.
 * Returns the outcome, the state then stored, how many messages there are, and the claim that is denied.
 */
export const commit = script(`
local stored = redis.call('HMGET', KEYS[1], 'version', 'commit_id', 'claims')
local outcome, denied = 'done', ''
if stored[1] == ARGV[2] and stored[2] == ARGV[3] then
  outcome = 'repeated'
elseif tonumber(stored[1] or 0) ~= tonumber(ARGV[1]) then
  outcome = 'conflict'
else
  for _, claim in ipairs(cjson.decode(ARGV[5])) do
    local until_version = redis.call('HGET', KEYS[5], claim)
    if until_version and tonumber(until_version) >= tonumber(ARGV[2]) then outcome, denied = 'denied', claim end
  end
end
if outcome == 'done' then
  redis.call('HSET', KEYS[1], 'version', ARGV[2], 'commit_id', ARGV[3], 'json', ARGV[4], 'claims', ARGV[5], 'due', ARGV[6],
    'created_at', ARGV[7], 'status', ARGV[8], 'owner', ARGV[9], 'was', stored[3] or '[]')
  for i = 13, #ARGV, 3 do
    redis.call('RPUSH', KEYS[2], ARGV[i + 1])
    if ARGV[i + 2] ~= '' then
      redis.call('ZADD', KEYS[3], ARGV[i], ARGV[i + 1])
      redis.call('HSET', KEYS[4], ARGV[i + 2], ARGV[i])
    end
  end
  if #ARGV > 12 then
    redis.call('HSET', KEYS[1], 'log_end', ARGV[#ARGV - 2])
    redis.call('LTRIM', KEYS[2], -tonumber(ARGV[12]), -1)
  end
  redis.pcall('PUBLISH', ARGV[10], ARGV[11])
end
return {outcome, ${state}, redis.call('ZCARD', KEYS[3]), denied}`);

/** Drops everything of a session. Keys as for the commit; the denied claims stay. Returns its claims and owner. */
export const drop = script(`
local held = redis.call('HMGET', KEYS[1], 'claims', 'owner')
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
return held`);

/** Drops the messages, and empties their events in the log; these must hold no list, which cjson would write as an object when empty. Keys as for the commit. Gives the state. */
export const dropMessages = script(`
redis.call('DEL', KEYS[3], KEYS[4])
for i, text in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
  if string.find(text, '"MessageAdded"', 1, true) then
    local event = cjson.decode(text)
    if event.type == 'MessageAdded' then
      event.content = ''
      redis.call('LSET', KEYS[2], i - 1, cjson.encode(event))
    end
  end
end
return ${state}`);

/** Events after a seq. Keys: record, log. Arguments: seq, limit. Returns nothing where some were dropped. */
export const eventsAfter = script(`
local length = redis.call('LLEN', KEYS[2])
if length == 0 then return {} end
local from = ARGV[1] + 1 - (redis.call('HGET', KEYS[1], 'log_end') - length + 1)
if from < 0 then return false end
return redis.call('LRANGE', KEYS[2], from, from + ARGV[2] - 1)`);

/** The version of each record, 0 where there is none. Keys: records. Not in a Cluster, where they lie in many slots. */
export const versions = script(`
local versions = {}
for i, key in ipairs(KEYS) do versions[i] = tonumber(redis.call('HGET', key, 'version') or 0) end
return versions`);

/** The message of an id. Keys: messages, message ids. */
export const findMessage = script(`
local seq = redis.call('HGET', KEYS[2], ARGV[1])
return seq and redis.call('ZRANGEBYSCORE', KEYS[1], seq, seq)[1]`);

/**
 * Says whether a record names a claim; if not, its commits up to `version` that would name it are refused from now on.
 * Whoever takes over a claim that was left behind calls it first: the commit it was taken for may still be under way.
 * Keys: record, denied claims. Arguments: claim, version (empty: only look), how long the denial is kept in ms.
 */
export const deny = script(`
local claims = redis.call('HGET', KEYS[1], 'claims')
if claims then
  for _, claim in ipairs(cjson.decode(claims)) do
    if claim == ARGV[1] then return 1 end
  end
end
if ARGV[2] ~= '' then
  if tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or 0) < tonumber(ARGV[2]) then redis.call('HSET', KEYS[2], ARGV[1], ARGV[2]) end
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
return 0`);

/**
 * Takes a claim that is free, the session's own, or exactly the one to be taken over.
 * Key: the claim. Arguments: session id, version, commit id; then those of the claim to take over.
 * Returns new, mine, or held with whose it is and for how many ms.
 */
export const take = script(`
local held = redis.call('HMGET', KEYS[1], 'id', 'version', 'commit_id', 'at')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local outcome = 'new'
if held[1] == ARGV[1] then
  outcome = 'mine'
  if tonumber(held[2]) > tonumber(ARGV[2]) then return {outcome} end
elseif held[1] and (held[1] ~= ARGV[4] or held[2] ~= ARGV[5] or held[3] ~= ARGV[6]) then
  return {'held', held[1], held[2], held[3], now - held[4]}
end
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'version', ARGV[2], 'commit_id', ARGV[3], 'at', string.format('%.0f', now))
return {outcome}`);

/** Frees a claim unless another session, or a later commit of this one, has taken it. Arguments: session id, version, commit id (empty: any). */
export const release = script(`
local held = redis.call('HMGET', KEYS[1], 'id', 'version', 'commit_id')
if held[1] == ARGV[1] and tonumber(held[2]) <= tonumber(ARGV[2]) and (ARGV[3] == '' or held[3] == ARGV[3]) then
  redis.call('DEL', KEYS[1])
end`);

/**
 * Writes what lists, statistics and deadlines are found by.
 * Keys: due, all, owner (or all), versions, message counts, messages in all, then one for each status.
 * Arguments: when, session id, version, due (empty: never), created_at, the key of its status, messages.
 * before: only adds, and moves the due time only forward, so that a commit that follows is found whatever happens after it.
 * after: as the record has it, unless a later one was here first. gone: nothing is left.
 */
export const index = script(`
local id = ARGV[2]
local function count(messages)
  local more = messages - (redis.call('HGET', KEYS[5], id) or 0)
  if messages == 0 then redis.call('HDEL', KEYS[5], id) else redis.call('HSET', KEYS[5], id, messages) end
  if more ~= 0 then redis.call('INCRBY', KEYS[6], more) end
end
if ARGV[1] == 'gone' then
  for i, key in ipairs(KEYS) do if i < 4 or i > 6 then redis.call('ZREM', key, id) end end
  redis.call('HDEL', KEYS[4], id)
  return count(0)
end
if ARGV[1] == 'after' then
  if tonumber(redis.call('HGET', KEYS[4], id) or 0) > tonumber(ARGV[3]) then return end
  redis.call('HSET', KEYS[4], id, ARGV[3])
end
for _, key in ipairs({KEYS[2], KEYS[3], KEYS[tonumber(ARGV[6])]}) do redis.call('ZADD', key, ARGV[5], id) end
if ARGV[1] == 'before' then
  if ARGV[4] ~= '' then redis.call('ZADD', KEYS[1], 'LT', ARGV[4], id) end
  return
end
for i = 7, #KEYS do if i ~= tonumber(ARGV[6]) then redis.call('ZREM', KEYS[i], id) end end
if ARGV[4] == '' then redis.call('ZREM', KEYS[1], id) else redis.call('ZADD', KEYS[1], ARGV[4], id) end
count(tonumber(ARGV[7]))`);

/** Ids of a list after a place in it, whether or not that place is still there. Key: the list. Arguments: created_at, session id, how many to skip, how many. */
export const page = script(`
local rank = redis.call('ZREVRANK', KEYS[1], ARGV[2])
if not rank then
  rank = redis.call('ZCOUNT', KEYS[1], '(' .. ARGV[1], '+inf') - 1
  for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', KEYS[1], ARGV[1], ARGV[1])) do
    if id > ARGV[2] then rank = rank + 1 end
  end
end
local first = rank + 1 + ARGV[3]
return redis.call('ZREVRANGE', KEYS[1], first, first + ARGV[4] - 1, 'WITHSCORES')`);

/** Keys: all, messages in all, then one for each status. Returns a count for each. */
export const statistics = script(`
local counts = {redis.call('ZCARD', KEYS[1]), tonumber(redis.call('GET', KEYS[2]) or 0)}
for i = 3, #KEYS do counts[i] = redis.call('ZCARD', KEYS[i]) end
return counts`);
