import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkLockFile, composeDown, composeUp, findCompose, type ComposeCall, type ComposeProject } from '../../src/adapters/compose-host/compose-command.ts';

/**
 * Which Compose is chosen, and what it is told. The programs here are stand-ins that write down how they were called: they show the choice
 * and the arguments, nothing about Compose itself. compose-host.test.ts and serve-compose.test.ts run the real one.
 */
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'stella-compose-command-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A program that notes its arguments and environment, and ends with what `exits` says for the first argument, 0 otherwise. */
async function standIn(name: string, exits: Readonly<Record<string, number>> = {}): Promise<void> {
  const cases = Object.entries(exits).map(([argument, code]) => `${argument}) exit ${code};;`).join(' ');
  const lines = ['#!/bin/sh', `echo "${name} $*" >> ${folder}/calls`, `env | sort > ${folder}/environment`, `case "$1" in ${cases} *) exit 0;; esac`];
  await writeFile(join(folder, name), `${lines.join('\n')}\n`);
  await chmod(join(folder, name), 0o755);
}

const surroundings = () => ({ path: `${folder}:/usr/bin:/bin`, home: '/home/agent' });
const calls = async (): Promise<readonly string[]> => (await readFile(join(folder, 'calls'), 'utf8')).trim().split('\n');
const project: ComposeProject = { name: 'prod_shop', folder: '/srv/v', lockFile: '/srv/v/compose.stella.lock.yml', envFile: '/srv/empty.env' };
const call = (): ComposeCall => ({ surroundings: surroundings(), socket: '/run/engine.sock', secrets: { PASSWORD: 'open sesame' }, output: () => undefined });
const WHERE = '-p prod_shop -f /srv/v/compose.stella.lock.yml --project-directory /srv/v --env-file /srv/empty.env';

describe('the choice of Compose', () => {
  it('is version 2 wherever it works, also beside version 1', async () => {
    await Promise.all([standIn('docker'), standIn('docker-compose')]);
    expect(await findCompose(surroundings())).toEqual({ argv: ['docker', 'compose'], major: 2 });
    expect(await calls()).toEqual(['docker compose version']);
  });

  it('is version 1 where docker has no such plugin', async () => {
    await Promise.all([standIn('docker', { compose: 1 }), standIn('docker-compose')]);
    expect(await findCompose(surroundings())).toEqual({ argv: ['docker-compose'], major: 1 });
  });

  it('is an error with a remedy where neither works', async () => {
    await Promise.all([standIn('docker', { compose: 1 }), standIn('docker-compose', { version: 1 })]);
    await expect(findCompose(surroundings())).rejects.toMatchObject({ code: 'ComposeMissing' });
  });
});

describe('what Compose is told', () => {
  it('is project, lock file and an empty environment file in every call, and never to pull, build or keep what is no longer there', async () => {
    await standIn('docker');
    const program = await findCompose(surroundings());
    await checkLockFile(program, project, call());
    await composeUp(program, project, call());
    await composeDown(program, project, call());
    expect((await calls()).slice(1)).toEqual([
      `docker compose ${WHERE} config -q`, `docker compose ${WHERE} up -d --no-build --remove-orphans --pull never`, `docker compose ${WHERE} down --remove-orphans`,
    ]);
  });

  it('leaves out for version 1 what only version 2 knows', async () => {
    await standIn('docker-compose');
    await composeUp({ argv: ['docker-compose'], major: 1 }, project, call());
    expect(await calls()).toEqual([`docker-compose ${WHERE} up -d --no-build --remove-orphans`]);
  });

  it('is secrets and the engine in the environment of the call, and nothing of the agent', async () => {
    await standIn('docker');
    await composeUp({ argv: ['docker', 'compose'], major: 2 }, project, call());
    const names = (await readFile(join(folder, 'environment'), 'utf8')).trim().split('\n').filter((line) => !/^(PWD|OLDPWD|SHLVL|_)=/.test(line));
    expect(names).toEqual(['DOCKER_HOST=unix:///run/engine.sock', 'HOME=/home/agent', 'LC_ALL=C.UTF-8', 'PASSWORD=open sesame', `PATH=${surroundings().path}`]);
    expect((await calls()).join('\n')).not.toContain('sesame');
  });

  it('that it refuses is an error with its own words', async () => {
    await standIn('docker-compose', { '-p': 3 });
    const program = { argv: ['docker-compose'], major: 1 } as const;
    await expect(checkLockFile(program, project, call())).rejects.toMatchObject({ code: 'ComposeInvalid' });
    await expect(composeUp(program, project, call())).rejects.toMatchObject({ code: 'UpFailed' });
    await expect(composeDown(program, project, call())).rejects.toMatchObject({ code: 'DownFailed' });
  });
});
