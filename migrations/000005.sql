-- Module agent: enrolment and what agents say of themselves. No authority: an agent's word counts where it is signed.

CREATE SCHEMA agent;
GRANT USAGE ON SCHEMA agent TO stella_app;

CREATE TABLE agent.enrolment_tokens (
  tenant_id storage.tenant NOT NULL,
  log_id storage.digest NOT NULL,
  -- sha256 of the token; the token itself is never stored.
  token_digest storage.digest NOT NULL,
  agent text COLLATE "C" NOT NULL,
  expires_at timestamptz(3) NOT NULL,
  consumed_at timestamptz(3),
  PRIMARY KEY (tenant_id, log_id, token_digest)
);
CALL storage.isolate_tenant('agent.enrolment_tokens');
CREATE TRIGGER immutable BEFORE UPDATE ON agent.enrolment_tokens
  FOR EACH ROW EXECUTE FUNCTION storage.keep_columns('token_digest', 'agent', 'expires_at', 'consumed_at');
GRANT SELECT, INSERT, UPDATE ON agent.enrolment_tokens TO stella_app;

CREATE TABLE agent.presence (
  tenant_id storage.tenant NOT NULL,
  log_id storage.digest NOT NULL,
  agent text COLLATE "C" NOT NULL,
  version text NOT NULL,
  capabilities jsonb NOT NULL,
  last_seen_at timestamptz(3) NOT NULL,
  -- What its targets really run, as last reported.
  inventory jsonb NOT NULL,
  inventory_at timestamptz(3),
  PRIMARY KEY (tenant_id, log_id, agent)
);
CALL storage.isolate_tenant('agent.presence');
GRANT SELECT, INSERT, UPDATE, DELETE ON agent.presence TO stella_app;
