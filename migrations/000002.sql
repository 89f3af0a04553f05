-- Module evidence: the mirror of the evidence branch. Authority is the branch (T30); these rows are never changed.

CREATE SCHEMA evidence;
GRANT USAGE ON SCHEMA evidence TO stella_app;

CREATE TABLE evidence.records (
  tenant_id storage.tenant NOT NULL,
  log_id storage.digest NOT NULL,
  seq bigint NOT NULL CHECK (seq >= 0),
  digest storage.digest NOT NULL,
  prev storage.digest,
  type text COLLATE "C" NOT NULL,
  predicate_type text COLLATE "C" NOT NULL,
  -- A copy for queries; U+0000 in it is replaced by U+FFFD. What was signed is in envelope.
  statement jsonb NOT NULL,
  envelope bytea NOT NULL,
  as_of timestamptz(3) NOT NULL,
  commit text COLLATE "C" NOT NULL,
  PRIMARY KEY (tenant_id, log_id, seq),
  UNIQUE (tenant_id, log_id, digest),
  CHECK ((seq = 0) = (prev IS NULL)),
  CHECK (digest = 'sha256:' || encode(sha256(envelope), 'hex'))
);
CREATE INDEX records_by_type ON evidence.records (tenant_id, log_id, type, seq);
CALL storage.isolate_tenant('evidence.records');
CALL storage.make_append_only('evidence.records');
GRANT SELECT, INSERT ON evidence.records TO stella_app;

CREATE FUNCTION evidence.check_chain() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  before text;
BEGIN
  IF NEW.seq > 0 THEN
    SELECT digest INTO before FROM evidence.records
      WHERE tenant_id = NEW.tenant_id AND log_id = NEW.log_id AND seq = NEW.seq - 1;
    IF before IS DISTINCT FROM NEW.prev THEN
      RAISE EXCEPTION 'record % follows %, but record % here is %', NEW.seq, NEW.prev, NEW.seq - 1, coalesce(before, 'missing')
        USING ERRCODE = 'ST002';
    END IF;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER chain BEFORE INSERT ON evidence.records FOR EACH ROW EXECUTE FUNCTION evidence.check_chain();

CREATE TABLE evidence.artifacts (
  tenant_id storage.tenant NOT NULL,
  log_id storage.digest NOT NULL,
  digest storage.digest NOT NULL,
  size_bytes bigint NOT NULL CHECK (size_bytes >= 0),
  -- Small ones lie here, larger ones only on the evidence branch.
  bytes bytea,
  PRIMARY KEY (tenant_id, log_id, digest),
  CHECK (bytes IS NULL OR (length(bytes) = size_bytes AND digest = 'sha256:' || encode(sha256(bytes), 'hex')))
);
CALL storage.isolate_tenant('evidence.artifacts');
CALL storage.make_append_only('evidence.artifacts');
GRANT SELECT, INSERT ON evidence.artifacts TO stella_app;

-- What we remember of the log from outside of it, so that a rewound branch or root shows (T16, T25).
CREATE TABLE evidence.log_heads (
  tenant_id storage.tenant NOT NULL,
  log_id storage.digest NOT NULL,
  n bigint GENERATED ALWAYS AS IDENTITY,
  seq bigint NOT NULL CHECK (seq >= 0),
  digest storage.digest NOT NULL,
  evidence_commit text COLLATE "C" NOT NULL,
  target_tip text COLLATE "C" NOT NULL,
  root_version bigint NOT NULL CHECK (root_version >= 1),
  root_digest storage.digest NOT NULL,
  remembered_at timestamptz(3) NOT NULL,
  PRIMARY KEY (tenant_id, log_id, n)
);
CALL storage.isolate_tenant('evidence.log_heads');
CALL storage.make_append_only('evidence.log_heads');
GRANT SELECT, INSERT ON evidence.log_heads TO stella_app;

CREATE FUNCTION evidence.check_head() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  last evidence.log_heads;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('stella.log/' || NEW.tenant_id || '/' || NEW.log_id, 0));
  SELECT * INTO last FROM evidence.log_heads WHERE tenant_id = NEW.tenant_id AND log_id = NEW.log_id ORDER BY n DESC LIMIT 1;
  IF NEW.seq < last.seq OR (NEW.seq = last.seq AND NEW.digest <> last.digest) THEN
    RAISE EXCEPTION 'the log ended with record % (%), now with % (%)', last.seq, last.digest, NEW.seq, NEW.digest USING ERRCODE = 'ST004';
  END IF;
  IF NEW.root_version < last.root_version OR (NEW.root_version = last.root_version AND NEW.root_digest <> last.root_digest) THEN
    RAISE EXCEPTION 'root version % (%) was in force, now % (%)', last.root_version, last.root_digest, NEW.root_version, NEW.root_digest
      USING ERRCODE = 'ST004';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER head BEFORE INSERT ON evidence.log_heads FOR EACH ROW EXECUTE FUNCTION evidence.check_head();
