-- Module release: what is in force, what runs, what was decided. Everything but conditions follows from the evidence branch.

CREATE SCHEMA release;
GRANT USAGE ON SCHEMA release TO stella_app;

CREATE TABLE release.documents (
  tenant_id storage.tenant NOT NULL,
  log_id storage.digest NOT NULL,
  kind text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  -- How many changes of this document were ever in force (protected kinds).
  count bigint NOT NULL CHECK (count >= 0),
  digest storage.digest NOT NULL,
  document jsonb NOT NULL,
  -- The record that put it in force.
  seq bigint NOT NULL,
  in_force_since timestamptz(3) NOT NULL,
  PRIMARY KEY (tenant_id, log_id, kind, name)
);
CALL storage.isolate_tenant('release.documents');
GRANT SELECT, INSERT, UPDATE, DELETE ON release.documents TO stella_app;

-- Other content in force is a change of its own, with a higher count; it never slips in under an old one.
CREATE FUNCTION release.check_document() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.count < OLD.count OR (NEW.count = OLD.count AND NEW.digest <> OLD.digest) THEN
    RAISE EXCEPTION '%/% was in force as change % (%), now as change % (%)', OLD.kind, OLD.name, OLD.count, OLD.digest, NEW.count, NEW.digest
      USING ERRCODE = 'ST003';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER immutable BEFORE UPDATE ON release.documents FOR EACH ROW EXECUTE FUNCTION release.check_document();

CREATE TABLE release.releases (
  tenant_id storage.tenant NOT NULL,
  log_id storage.digest NOT NULL,
  id uuid NOT NULL UNIQUE,
  name text COLLATE "C" NOT NULL,
  application text COLLATE "C" NOT NULL,
  version text COLLATE "C" NOT NULL,
  display_name text,
  -- [{name, repository, registry, tag, digest}]
  components jsonb NOT NULL,
  source_ref jsonb,
  metadata jsonb NOT NULL,
  deprecated_reason text,
  status text COLLATE "C" NOT NULL CHECK (status IN ('draft', 'ready', 'promoting', 'deployed', 'deprecated', 'archived')),
  -- What gives the release its identity once it is locked.
  release_spec_digest storage.digest,
  lock_digest storage.digest,
  lock_seq bigint,
  locked_at timestamptz(3),
  created_at timestamptz(3) NOT NULL,
  created_by jsonb NOT NULL,
  PRIMARY KEY (tenant_id, log_id, name)
);
CREATE INDEX releases_by_application ON release.releases (tenant_id, log_id, application, created_at DESC, name);
CALL storage.isolate_tenant('release.releases');
GRANT SELECT, INSERT, UPDATE, DELETE ON release.releases TO stella_app;

-- A draft may still change; from the lock on, neither lock nor content does.
CREATE TRIGGER immutable BEFORE UPDATE ON release.releases
  FOR EACH ROW WHEN (OLD.lock_digest IS NOT NULL)
  EXECUTE FUNCTION storage.keep_columns('id', 'lock_digest', 'lock_seq', 'release_spec_digest');

CREATE TABLE release.environment_state (
  tenant_id storage.tenant NOT NULL,
  log_id storage.digest NOT NULL,
  id uuid NOT NULL UNIQUE,
  environment text COLLATE "C" NOT NULL,
  application text COLLATE "C" NOT NULL,
  release text COLLATE "C",
  generation bigint NOT NULL CHECK (generation >= 0),
  -- These two are what moves when an environment moves; evidence_seq names the record that moved them.
  lock_digest storage.digest,
  runs_digest storage.digest,
  clean boolean NOT NULL,
  status text COLLATE "C" NOT NULL CHECK (status IN ('empty', 'deploying', 'deployed', 'failed', 'rolled-back', 'removed')),
  deployed_at timestamptz(3),
  deployed_by jsonb NOT NULL,
  promotion_digest storage.digest,
  evidence_seq bigint,
  PRIMARY KEY (tenant_id, log_id, environment, application)
);
CALL storage.isolate_tenant('release.environment_state');
GRANT SELECT, INSERT, UPDATE, DELETE ON release.environment_state TO stella_app;

-- A generation that has passed never comes back (T22).
CREATE FUNCTION release.check_generation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.generation < OLD.generation THEN
    RAISE EXCEPTION '%/% is at generation %, not %', OLD.environment, OLD.application, OLD.generation, NEW.generation USING ERRCODE = 'ST003';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER immutable BEFORE UPDATE ON release.environment_state FOR EACH ROW EXECUTE FUNCTION release.check_generation();

-- One row for each subject of decisions: a Promotion document at one generation, with its latest decision.
CREATE TABLE release.promotions (
  tenant_id storage.tenant NOT NULL,
  log_id storage.digest NOT NULL,
  id uuid NOT NULL,
  environment text COLLATE "C" NOT NULL,
  application text COLLATE "C" NOT NULL,
  document_digest storage.digest NOT NULL,
  generation bigint NOT NULL CHECK (generation >= 1),
  operation text COLLATE "C" NOT NULL CHECK (operation IN ('promote', 'remove')),
  release text COLLATE "C",
  lock_digest storage.digest,
  plan_digest storage.digest,
  promotion_digest storage.digest,
  outcome text COLLATE "C" NOT NULL CHECK (outcome IN ('allow', 'pending', 'refuse')),
  reasons jsonb NOT NULL,
  gates jsonb NOT NULL,
  -- {people: [], unknown: n}
  requesters jsonb NOT NULL,
  requested_at timestamptz(3) NOT NULL,
  decided_at timestamptz(3) NOT NULL,
  decision_seq bigint NOT NULL,
  decision_digest storage.digest NOT NULL,
  not_after timestamptz(3),
  next_change_at timestamptz(3),
  -- How its run ended, once it has.
  result text COLLATE "C" CHECK (result IN ('Succeeded', 'Failed', 'Errored', 'Aborted')),
  outcome_seq bigint,
  PRIMARY KEY (tenant_id, log_id, id),
  UNIQUE (tenant_id, log_id, environment, application, generation, document_digest)
);
CREATE INDEX promotions_by_application ON release.promotions (tenant_id, log_id, application, decision_seq DESC);
CREATE INDEX promotions_by_decision ON release.promotions (tenant_id, log_id, decision_seq DESC);
CALL storage.isolate_tenant('release.promotions');
CREATE TRIGGER immutable BEFORE UPDATE ON release.promotions
  FOR EACH ROW EXECUTE FUNCTION storage.keep_columns('id', 'environment', 'application', 'document_digest', 'generation', 'result', 'outcome_seq');
GRANT SELECT, INSERT, UPDATE, DELETE ON release.promotions TO stella_app;

-- Filled from the observation records when they are mirrored.
CREATE TABLE release.approvals (
  tenant_id storage.tenant NOT NULL,
  log_id storage.digest NOT NULL,
  -- The observation that first saw it.
  seq bigint NOT NULL,
  document_digest storage.digest NOT NULL,
  artifact_digest storage.digest NOT NULL,
  payload_digest storage.digest NOT NULL,
  action text COLLATE "C" NOT NULL CHECK (action IN ('approve', 'reject')),
  approves_type text COLLATE "C" NOT NULL CHECK (approves_type IN ('promotion', 'change')),
  approves_digest storage.digest NOT NULL,
  environment text COLLATE "C",
  application text COLLATE "C",
  principal text COLLATE "C" NOT NULL,
  fingerprint text COLLATE "C" NOT NULL,
  observed_at timestamptz(3) NOT NULL,
  PRIMARY KEY (tenant_id, log_id, seq),
  FOREIGN KEY (tenant_id, log_id, seq) REFERENCES evidence.records
);
CREATE INDEX approvals_by_subject ON release.approvals (tenant_id, log_id, approves_digest);
CALL storage.isolate_tenant('release.approvals');
CALL storage.make_append_only('release.approvals');
GRANT SELECT, INSERT ON release.approvals TO stella_app;

-- What is wrong or under way with a resource, with the place in the file that a person has to look at.
CREATE TABLE release.conditions (
  tenant_id storage.tenant NOT NULL,
  log_id storage.digest NOT NULL,
  kind text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  type text COLLATE "C" NOT NULL CHECK (type IN ('Ready', 'Reconciling', 'Stalled')),
  status text COLLATE "C" NOT NULL CHECK (status IN ('True', 'False', 'Unknown')),
  reason text COLLATE "C" NOT NULL,
  message text NOT NULL,
  file text,
  line integer,
  -- When status last changed; a new message alone does not move it.
  since timestamptz(3) NOT NULL,
  PRIMARY KEY (tenant_id, log_id, kind, name, type)
);
CALL storage.isolate_tenant('release.conditions');
GRANT SELECT, INSERT, UPDATE, DELETE ON release.conditions TO stella_app;
