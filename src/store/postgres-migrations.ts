import type { PoolClient } from 'pg';
import { StorageError } from '../errors.ts';

/** SQLSTATE the commit raises, with the claim as its detail, when another session holds it. */
export const claimTakenState = 'SG001';

/** How long a migration, or the wait for another node's, may take: it may have to build an index. */
const migrationMs = 60_000;

/** SQLSTATE: there is no such table. */
const undefinedTable = '42P01';

/** In two released entries: what changes it is an entry with a text of its own. It keeps as many events as `maxEvents` says. */
const saveFunction = (p: string, signal: string) => `
-- The commit. True: it is stored, now or before. False: the stored version is another. Every write to a session locks its row first.
CREATE OR REPLACE FUNCTION ${p}save(p_record json, p_expected bigint, p_due bigint, p_events json) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  -- refuses NUL and halves of surrogate pairs, which json takes and nobody could read
  v_record jsonb := p_record;
  v_events jsonb := p_events;
  v_id text := v_record->>'session_id';
  v_version bigint := (v_record->>'version')::bigint;
  v_commit text := v_record->>'commit_id';
  v_tags text[] := ARRAY(SELECT jsonb_array_elements_text(v_record->'metadata'->'tags'));
  v_claims text[] := ARRAY(SELECT jsonb_array_elements_text(v_record->'claims'));
  v_stored_version bigint;
  v_stored_commit text;
  v_claim text;
  v_holder text;
BEGIN
  LOOP
    SELECT version, commit_id INTO v_stored_version, v_stored_commit FROM ${p}sessions WHERE session_id = v_id FOR UPDATE;
    IF FOUND THEN
      IF v_stored_version = v_version AND v_stored_commit = v_commit THEN RETURN true; END IF;
      IF v_stored_version <> p_expected THEN RETURN false; END IF;
      UPDATE ${p}sessions SET version = v_version, commit_id = v_commit, record = p_record, owner_id = v_record->>'owner_id',
        status = v_record->>'status', created_at = (v_record->>'created_at')::bigint, due_at = p_due, tags = v_tags
      WHERE session_id = v_id;
      EXIT;
    END IF;
    IF p_expected <> 0 THEN RETURN false; END IF;
    INSERT INTO ${p}sessions (session_id, version, commit_id, record, owner_id, status, created_at, due_at, tags)
    VALUES (v_id, v_version, v_commit, p_record, v_record->>'owner_id', v_record->>'status',
      (v_record->>'created_at')::bigint, p_due, v_tags)
    ON CONFLICT (session_id) DO NOTHING;
    EXIT WHEN FOUND;
  END LOOP;

  -- taken in one order before any is given up, so that two commits never wait for each other
  FOR v_claim IN SELECT unnest(v_claims) EXCEPT SELECT claim FROM ${p}claims WHERE session_id = v_id ORDER BY 1 LOOP
    INSERT INTO ${p}claims AS held (claim, session_id) VALUES (v_claim, v_id)
    ON CONFLICT (claim) DO UPDATE SET session_id = held.session_id
    RETURNING held.session_id INTO v_holder;
    IF v_holder <> v_id THEN RAISE EXCEPTION USING ERRCODE = '${claimTakenState}', MESSAGE = 'claim taken', DETAIL = v_claim; END IF;
  END LOOP;
  DELETE FROM ${p}claims WHERE session_id = v_id AND claim <> ALL (v_claims);

  IF json_array_length(p_events) > 0 THEN
    INSERT INTO ${p}events (session_id, seq, body)
    SELECT v_id, (e.body->>'seq')::bigint, e.body FROM json_array_elements(p_events) AS e(body);
    DELETE FROM ${p}events WHERE session_id = v_id
      AND seq <= (SELECT max((e.body->>'seq')::bigint) FROM jsonb_array_elements(v_events) AS e(body)) - 512;
    INSERT INTO ${p}messages (session_id, seq, message_id, body)
    SELECT v_id, (e.body->>'seq')::bigint, e.body->>'message_id', e.body FROM json_array_elements(p_events) AS e(body)
    WHERE e.body->>'type' = 'MessageAdded'
    ON CONFLICT (session_id, message_id) DO UPDATE SET seq = excluded.seq, body = excluded.body;
  END IF;
  PERFORM pg_notify('${p}commits', ${signal});
  RETURN true;
END $$;`;

/** In order; an entry is never changed once it is released, for there are databases it was applied to. `p` is in front of every name. */
const migrations: readonly ((p: string) => string)[] = [
  (p) => `
-- json, not jsonb: what users keep comes back with its keys in the order they gave
CREATE TABLE ${p}sessions (
  session_id text COLLATE "C" PRIMARY KEY,
  version bigint NOT NULL,
  commit_id text NOT NULL,
  record json NOT NULL,
  owner_id text COLLATE "C",
  status text COLLATE "C" NOT NULL,
  created_at bigint NOT NULL,
  due_at bigint,
  tags text[] NOT NULL
);
CREATE INDEX ${p}sessions_newest ON ${p}sessions (created_at, session_id);
CREATE INDEX ${p}sessions_owner ON ${p}sessions (owner_id, created_at, session_id);
CREATE INDEX ${p}sessions_status ON ${p}sessions (status, created_at, session_id);
CREATE INDEX ${p}sessions_due ON ${p}sessions (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX ${p}sessions_tags ON ${p}sessions USING gin (tags);

CREATE TABLE ${p}events (
  session_id text COLLATE "C" NOT NULL,
  seq bigint NOT NULL,
  body json NOT NULL,
  PRIMARY KEY (session_id, seq)
);
CREATE TABLE ${p}messages (
  session_id text COLLATE "C" NOT NULL,
  seq bigint NOT NULL,
  message_id text COLLATE "C" NOT NULL,
  body json NOT NULL,
  PRIMARY KEY (session_id, seq),
  UNIQUE (session_id, message_id)
);
CREATE TABLE ${p}nodes (
  node_id text COLLATE "C" PRIMARY KEY,
  until bigint NOT NULL
);

CREATE TABLE ${p}claims (
  claim text COLLATE "C" PRIMARY KEY,
  session_id text COLLATE "C" NOT NULL
);
CREATE INDEX ${p}claims_session ON ${p}claims (session_id);

${saveFunction(p, 'v_id')}

CREATE FUNCTION ${p}delete(p_id text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM ${p}sessions WHERE session_id = p_id;
  DELETE FROM ${p}events WHERE session_id = p_id;
  DELETE FROM ${p}messages WHERE session_id = p_id;
  DELETE FROM ${p}claims WHERE session_id = p_id;
END $$;

CREATE FUNCTION ${p}drop_messages(p_id text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM 1 FROM ${p}sessions WHERE session_id = p_id FOR UPDATE;
  DELETE FROM ${p}messages WHERE session_id = p_id;
  UPDATE ${p}events SET body = jsonb_set(body::jsonb, '{content}', '""')::json WHERE session_id = p_id AND body->>'type' = 'MessageAdded';
END $$;
`,
  // a signal names the commit, as `signalOf` writes it; a notification has room for 8,000 bytes
  (p) => saveFunction(p, "v_id || ' ' || left(v_commit, 64)"),
];

/**
 * Brings the tables to what this code needs. Safe to run on many nodes at once; does nothing where it was done.
 * @throws StorageError the database is of newer code
 */
export async function migrate(connect: () => Promise<PoolClient>, p: string): Promise<void> {
  const client = await connect();
  let failed = true;
  try {
    if ((await lastApplied(client, p)) < migrations.length) await applyMissing(client, p);
    failed = false;
  } finally {
    // a connection that may be in the middle of a transaction is closed, which rolls it back
    client.release(failed);
  }
}

async function applyMissing(client: PoolClient, p: string): Promise<void> {
  const run = (text: string) => {
    const slow = { text, query_timeout: migrationMs };
    return client.query(slow);
  };
  await run(`BEGIN; SET LOCAL statement_timeout = ${migrationMs}; SELECT pg_advisory_xact_lock(hashtextextended('${p}migrations', 0))`);
  await run(`CREATE TABLE IF NOT EXISTS ${p}migrations (version int PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())`);
  for (let done = await lastApplied(client, p); done < migrations.length; done++) {
    await run(`${migrations[done]?.(p)}; INSERT INTO ${p}migrations (version) VALUES (${done + 1})`);
  }
  await run('COMMIT');
}

async function lastApplied(client: PoolClient, p: string): Promise<number> {
  const none = { rows: [{ version: 0 }] };
  const { rows } = await client
    .query<{ version: number }>(`SELECT coalesce(max(version), 0) AS version FROM ${p}migrations`)
    .catch((error) => (error.code === undefinedTable ? none : Promise.reject(error)));
  const version = rows[0]?.version ?? 0;
  if (version > migrations.length) {
    throw new StorageError(
      `The tables ${p}* are at migration ${version}, newer than this gateway, which knows ${migrations.length}: upgrade it`,
    );
  }
  return version;
}
