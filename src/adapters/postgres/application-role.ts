import pg from 'pg';
import { StorageError } from '../../ports/storage-error.ts';

/** The role that every session of the application takes. It owns nothing and cannot log in. */
export const APPLICATION_ROLE = 'stella_app';

/**
 * Roles belong to the whole server, not to one database, so they are not in the migrations. Makes the role where that is allowed and
 * lets the connecting user take it.
 * @param client connected as the owner of the schema.
 * @throws StorageError `StorageForbidden` with the statements that an administrator must run.
 */
export async function ensureApplicationRole(client: pg.ClientBase): Promise<void> {
  try {
    await client.query(`DO $$ BEGIN
      IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '${APPLICATION_ROLE}') THEN
        BEGIN
          CREATE ROLE ${APPLICATION_ROLE} NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
      END IF;
      IF NOT pg_has_role(current_user, '${APPLICATION_ROLE}', 'SET') THEN
        GRANT ${APPLICATION_ROLE} TO CURRENT_USER;
      END IF;
    END $$`);
  } catch (cause) {
    if (!(cause instanceof pg.DatabaseError) || cause.code !== '42501') throw cause;
    const message = `the database user may not create roles: let an administrator run "CREATE ROLE ${APPLICATION_ROLE} NOLOGIN; GRANT ${APPLICATION_ROLE} TO <this user>;"`;
    throw new StorageError('StorageForbidden', message, cause);
  }
}

/** What a start refuses: an application role that row level security or ownership would not hold. */
export async function verifyApplicationRole(pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query<{ role: string; strong: boolean; owns: string }>(`
    SELECT current_user AS role,
           (SELECT rolsuper OR rolbypassrls OR rolcreaterole FROM pg_roles WHERE rolname = current_user) AS strong,
           (SELECT count(*)::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname IN ('storage', 'evidence', 'release', 'run', 'agent') AND pg_get_userbyid(c.relowner) = current_user) AS owns`);
  const found = rows[0];
  if (found?.role !== APPLICATION_ROLE) {
    throw new StorageError('StorageMisconfigured', `sessions run as ${found?.role}, not as ${APPLICATION_ROLE}: take "options" out of CONNECTIONSTRINGS__DEFAULT`);
  }
  if (found.strong || Number(found.owns) !== 0) {
    throw new StorageError('StorageMisconfigured', `the role ${APPLICATION_ROLE} must own nothing and have neither SUPERUSER, BYPASSRLS nor CREATEROLE: ALTER ROLE or REASSIGN OWNED`);
  }
}
