-- Module run: runs in flight. A run's outcome is evidence; these rows are how it gets there.

CREATE SCHEMA run;
GRANT USAGE ON SCHEMA run TO stella_app;

CREATE TABLE run.runs (
  tenant_id storage.tenant NOT NULL,
  log_id storage.digest NOT NULL,
  id uuid NOT NULL UNIQUE,
  environment text COLLATE "C" NOT NULL,
  application text COLLATE "C" NOT NULL,
  operation text COLLATE "C" NOT NULL CHECK (operation IN ('promote', 'remove')),
  promotion_digest storage.digest NOT NULL,
  generation bigint NOT NULL CHECK (generation >= 1),
  -- The allow that opened it.
  decision_seq bigint NOT NULL,
  decision_digest storage.digest NOT NULL,
  -- Number of the last transition, 0 before the first; state is the run after it.
  n bigint NOT NULL DEFAULT 0 CHECK (n >= 0),
  state jsonb NOT NULL,
  opened_at timestamptz(3) NOT NULL,
  ended_at timestamptz(3),
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, log_id, promotion_digest, generation)
);
-- Never two open runs in one place.
CREATE UNIQUE INDEX one_open_run ON run.runs (tenant_id, log_id, environment, application) WHERE ended_at IS NULL;
CALL storage.isolate_tenant('run.runs');
CREATE TRIGGER immutable BEFORE UPDATE ON run.runs FOR EACH ROW EXECUTE FUNCTION storage.keep_columns(
  'id', 'log_id', 'environment', 'application', 'operation', 'promotion_digest', 'generation', 'decision_seq', 'decision_digest', 'opened_at', 'ended_at');
GRANT SELECT, INSERT, UPDATE ON run.runs TO stella_app;

CREATE TABLE run.transitions (
  tenant_id storage.tenant NOT NULL,
  run_id uuid NOT NULL,
  n bigint NOT NULL CHECK (n >= 1),
  event jsonb NOT NULL,
  at timestamptz(3) NOT NULL,
  PRIMARY KEY (tenant_id, run_id, n),
  FOREIGN KEY (tenant_id, run_id) REFERENCES run.runs (tenant_id, id)
);
CALL storage.isolate_tenant('run.transitions');
CALL storage.make_append_only('run.transitions');
GRANT SELECT, INSERT ON run.transitions TO stella_app;

-- The digest of an order is its idempotency key; the receipt comes once.
CREATE TABLE run.orders (
  tenant_id storage.tenant NOT NULL,
  run_id uuid NOT NULL,
  digest storage.digest NOT NULL,
  target text COLLATE "C" NOT NULL,
  agent text COLLATE "C" NOT NULL,
  operation text COLLATE "C" NOT NULL CHECK (operation IN ('promote', 'remove', 'fall-back')),
  try integer NOT NULL CHECK (try >= 1),
  bytes bytea NOT NULL,
  sent_at timestamptz(3) NOT NULL,
  receipt bytea,
  answered_at timestamptz(3),
  PRIMARY KEY (tenant_id, digest),
  UNIQUE (tenant_id, run_id, target, operation, try),
  CHECK (digest = 'sha256:' || encode(sha256(bytes), 'hex')),
  CHECK ((receipt IS NULL) = (answered_at IS NULL)),
  FOREIGN KEY (tenant_id, run_id) REFERENCES run.runs (tenant_id, id)
);
CALL storage.isolate_tenant('run.orders');
CREATE TRIGGER immutable BEFORE UPDATE ON run.orders FOR EACH ROW EXECUTE FUNCTION storage.keep_columns(
  'run_id', 'digest', 'target', 'agent', 'operation', 'try', 'bytes', 'sent_at', 'receipt', 'answered_at');
GRANT SELECT, INSERT, UPDATE ON run.orders TO stella_app;
