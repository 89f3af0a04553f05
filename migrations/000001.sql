-- Words and guards that every module uses.
-- The role stella_app exists before this runs (src/adapters/postgres/application-role.ts): it owns nothing and works under row level security.

CREATE SCHEMA IF NOT EXISTS storage;
GRANT USAGE ON SCHEMA storage TO stella_app;

CREATE DOMAIN storage.digest AS text COLLATE "C" CHECK (VALUE ~ '^sha256:[0-9a-f]{64}$');
CREATE DOMAIN storage.tenant AS text COLLATE "C" CHECK (VALUE <> '');

-- Nobody sees or writes a row of another tenant, the table's owner included. Without a tenant set, nobody sees anything.
CREATE PROCEDURE storage.isolate_tenant(target regclass) LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
  EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
  EXECUTE format(
    'CREATE POLICY tenant ON %s USING (tenant_id = current_setting(''stella.tenant'', true)) '
    'WITH CHECK (tenant_id = current_setting(''stella.tenant'', true))', target);
END $$;

CREATE FUNCTION storage.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '%.% is append-only: % is refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP USING ERRCODE = 'ST001';
END $$;

-- The second lock beside the missing privilege: it also stops the owner, and a statement that matches no row.
CREATE PROCEDURE storage.make_append_only(target regclass) LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format(
    'CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %s '
    'FOR EACH STATEMENT EXECUTE FUNCTION storage.refuse_change()', target);
END $$;

-- Arguments: columns that are written once. From null to a value is allowed, nothing after that.
CREATE FUNCTION storage.keep_columns() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  before jsonb := to_jsonb(OLD);
  after jsonb := to_jsonb(NEW);
  col text;
BEGIN
  FOREACH col IN ARRAY TG_ARGV LOOP
    IF before -> col <> 'null'::jsonb AND before -> col IS DISTINCT FROM after -> col THEN
      RAISE EXCEPTION '%.%.% is immutable: % was to become %', TG_TABLE_SCHEMA, TG_TABLE_NAME, col, before ->> col, after ->> col
        USING ERRCODE = 'ST003';
    END IF;
  END LOOP;
  RETURN NEW;
END $$;
