import { sql } from './postgres-fixture.ts';

/**
 * The schema as text, from the catalog: what a reviewer wants to see change when a migration does. Not a script to restore from.
 * Leaves out what differs between the Postgres versions that we support.
 */
export async function dumpSchema(url: string): Promise<string> {
  const rows = await sql<{ line: string }>(url, DUMP);
  return `${rows.map(({ line }) => line).join('\n')}\n`;
}

const DUMP = `
WITH ours AS (SELECT oid, nspname FROM pg_namespace WHERE nspname IN ('storage', 'evidence', 'release', 'run', 'agent')),
tables AS (SELECT c.oid, format('%I.%I', ours.nspname, c.relname) AS name, c.relacl, c.relrowsecurity, c.relforcerowsecurity FROM pg_class c JOIN ours ON ours.oid = c.relnamespace WHERE c.relkind = 'r'),
lines AS (
  SELECT '1 schema' AS part, nspname AS name, 0 AS place, format('SCHEMA %I', nspname) AS line FROM ours
  UNION ALL
  SELECT '2 domain', format('%I.%I', ours.nspname, t.typname), 0,
         format('DOMAIN %I.%I %s %s', ours.nspname, t.typname, format_type(t.typbasetype, t.typtypmod), pg_get_constraintdef(c.oid))
    FROM pg_type t JOIN ours ON ours.oid = t.typnamespace JOIN pg_constraint c ON c.contypid = t.oid AND c.contype = 'c'
  UNION ALL
  SELECT '3 routine', format('%I.%I', ours.nspname, p.proname), 0, rtrim(pg_get_functiondef(p.oid), E'\\n')
    FROM pg_proc p JOIN ours ON ours.oid = p.pronamespace
  UNION ALL
  SELECT '4 table', name, 0, format(E'\\nTABLE %s%s', name, CASE WHEN relrowsecurity AND relforcerowsecurity THEN ' (row level security forced)' ELSE '' END) FROM tables
  UNION ALL
  SELECT '4 table', name, a.attnum, format('  %I %s%s%s%s', a.attname, format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END,
         CASE WHEN a.attidentity <> '' THEN ' IDENTITY' ELSE '' END, coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), ''))
    FROM tables JOIN pg_attribute a ON a.attrelid = tables.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  UNION ALL
  SELECT '4 table', name, 1000, '  CONSTRAINT ' || pg_get_constraintdef(c.oid) FROM tables JOIN pg_constraint c ON c.conrelid = tables.oid AND c.contype <> 'n'
  UNION ALL
  SELECT '4 table', name, 1001, '  ' || pg_get_indexdef(i.indexrelid) FROM tables JOIN pg_index i ON i.indrelid = tables.oid AND NOT i.indisprimary
  UNION ALL
  SELECT '4 table', name, 1002, '  ' || pg_get_triggerdef(t.oid) FROM tables JOIN pg_trigger t ON t.tgrelid = tables.oid AND NOT t.tgisinternal
  UNION ALL
  SELECT '4 table', name, 1003, format('  POLICY %I USING %s WITH CHECK %s', p.polname, pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
    FROM tables JOIN pg_policy p ON p.polrelid = tables.oid
  UNION ALL
  SELECT '4 table', name, 1004, format('  GRANT %s TO stella_app', string_agg(g.privilege_type, ', ' ORDER BY g.privilege_type))
    FROM tables, aclexplode(tables.relacl) g WHERE g.grantee = 'stella_app'::regrole GROUP BY name
)
SELECT line FROM lines ORDER BY part COLLATE "C", name COLLATE "C", place, line COLLATE "C"`;
