import { describe, expect, test } from 'vitest';
import { parseStorageConfig } from '../../src/config/storage.ts';

const production = { environment: 'production' };
const development = { environment: 'development' };
const URL = 'postgres://stella:secret-word@db.example:5432/stella';
const OBJECTS = { STORAGE__OBJECTSTORE__DRIVER: 'seed-fs' };

/** Names of the settings that are complained about. */
function refused(settings: Record<string, string | undefined>, options = production): readonly string[] {
  const outcome = parseStorageConfig(settings, options);
  return outcome.ok ? [] : outcome.problems.map(({ setting }) => setting);
}

describe('outside development', () => {
  test('names every setting that is missing at once', () => {
    expect(refused({})).toEqual(['STORAGE__DRIVER', 'STORAGE__OBJECTSTORE__DRIVER']);
    expect(refused({ STORAGE__DRIVER: '', STORAGE__OBJECTSTORE__DRIVER: '' })).toEqual(['STORAGE__DRIVER', 'STORAGE__OBJECTSTORE__DRIVER']);
    expect(refused({ STORAGE__DRIVER: 'postgres', ...OBJECTS })).toEqual(['CONNECTIONSTRINGS__DEFAULT']);
  });

  test('takes filesystem and inmemory only where they are written down', () => {
    for (const driver of ['filesystem', 'inmemory']) {
      expect(parseStorageConfig({ STORAGE__DRIVER: driver, ...OBJECTS }, production))
        .toEqual({ ok: true, config: { database: { driver }, objectStore: { driver: 'seed-fs' } }, assumed: [] });
    }
  });

  test('anything but exactly development is not development', () => {
    for (const environment of ['', 'Development', 'dev', 'test']) expect(refused({}, { environment })).toContain('STORAGE__DRIVER');
  });
});

describe('development', () => {
  test('assumes a folder and says that it does', () => {
    expect(parseStorageConfig({}, development)).toEqual({
      ok: true, config: { database: { driver: 'filesystem' }, objectStore: { driver: 'seed-fs' } },
      assumed: ['STORAGE__DRIVER=filesystem', 'STORAGE__OBJECTSTORE__DRIVER=seed-fs'],
    });
  });

  test('does not pass over a connection string for want of a driver', () => {
    expect(refused({ CONNECTIONSTRINGS__DEFAULT: URL }, development)).toEqual(['STORAGE__DRIVER']);
  });
});

describe('everywhere', () => {
  test('reads the connection string, and that of the owner where it is apart', () => {
    const given = { STORAGE__DRIVER: 'postgres', CONNECTIONSTRINGS__DEFAULT: URL, ...OBJECTS };
    expect(parseStorageConfig(given, production)).toMatchObject({ ok: true, config: { database: { driver: 'postgres', url: URL, ownerUrl: URL } } });
    const owner = URL.replace('stella:', 'owner:');
    expect(parseStorageConfig({ ...given, CONNECTIONSTRINGS__MIGRATIONS: owner }, production)).toMatchObject({ ok: true, config: { database: { url: URL, ownerUrl: owner } } });
  });

  test.each([
    [{ STORAGE__DRIVER: 'sqlite', ...OBJECTS }, ['STORAGE__DRIVER']],
    [{ STORAGE__DRIVER: 'inmemory', STORAGE__OBJECTSTORE__DRIVER: 's3' }, ['STORAGE__OBJECTSTORE__DRIVER']],
    [{ STORAGE__DRIVER: 'inmemory', STORAGE__OBJECTSTORE__DRIVER: 'rustfs' }, ['STORAGE__OBJECTSTORE__DRIVER']],
    [{ STORAGE__DRIVER: 'inmemory', CONNECTIONSTRINGS__DEFAULT: URL, ...OBJECTS }, ['CONNECTIONSTRINGS__DEFAULT']],
    [{ STORAGE__DRIVER: 'postgres', CONNECTIONSTRINGS__DEFAULT: 'Host=db;Database=stella', ...OBJECTS }, ['CONNECTIONSTRINGS__DEFAULT']],
    [{ STORAGE__DRIVER: 'postgres', CONNECTIONSTRINGS__DEFAULT: 'mysql://a/b', ...OBJECTS }, ['CONNECTIONSTRINGS__DEFAULT']],
  ])('refuses %j', (settings, problems) => {
    expect(refused(settings, development)).toEqual(problems);
  });

  test('never repeats a secret in a message', () => {
    const outcome = parseStorageConfig({ STORAGE__DRIVER: 'filesystem', CONNECTIONSTRINGS__DEFAULT: URL }, production);
    expect(outcome.ok).toBe(false);
    expect(JSON.stringify(outcome)).not.toContain('secret-word');
  });
});
