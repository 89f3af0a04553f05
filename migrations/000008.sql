-- A promotion can be brought to targets that come later: a run of its own, under the digest and generation that stand.

ALTER TABLE release.promotions DROP CONSTRAINT promotions_operation_check;
ALTER TABLE release.promotions ADD CONSTRAINT promotions_operation_check CHECK (operation IN ('promote', 'extend', 'remove'));

ALTER TABLE run.runs DROP CONSTRAINT runs_operation_check;
ALTER TABLE run.runs ADD CONSTRAINT runs_operation_check CHECK (operation IN ('promote', 'extend', 'remove'));
-- The record that opened it for an extension, else 0.
ALTER TABLE run.runs ADD COLUMN extension bigint NOT NULL DEFAULT 0 CHECK (extension >= 0 AND (operation = 'extend') = (extension > 0));
ALTER TABLE run.runs DROP CONSTRAINT runs_tenant_id_log_id_promotion_digest_generation_key;
ALTER TABLE run.runs ADD UNIQUE (tenant_id, log_id, promotion_digest, generation, extension);
DROP TRIGGER immutable ON run.runs;
CREATE TRIGGER immutable BEFORE UPDATE ON run.runs FOR EACH ROW EXECUTE FUNCTION storage.keep_columns(
  'id', 'log_id', 'environment', 'application', 'operation', 'promotion_digest', 'generation', 'extension', 'decision_seq', 'decision_digest', 'opened_at', 'ended_at');

ALTER TABLE run.orders DROP CONSTRAINT orders_operation_check;
ALTER TABLE run.orders ADD CONSTRAINT orders_operation_check CHECK (operation IN ('promote', 'extend', 'remove', 'fall-back', 'health-check'));
