import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hardenedEnvironment, parseRefName, parseRefspec, parseRemoteUrl } from '../../src/adapters/git/hardened-git.ts';
import { parsePath, parseTree, serializeTree, type RawTreeEntry } from '../../src/adapters/git/tree-object.ts';
import { isCommitId, parseBlobId, parseCommitId, type TreeId } from '../../src/core/model/commit-id.ts';
import { runProgram } from '../fakes/git-repository.ts';

describe('Git URLs', () => {
  it.each([
    ['/srv/repos/a b.git', 'path', null],
    ['./relative', 'path', null],
    ['file:///srv/a.git', 'file', null],
    ['ssh://git@git.example.test:22/a.git', 'ssh', 'git.example.test'],
    ['git@git.example.test:team/a.git', 'ssh', 'git.example.test'],
    ['https://git.example.test/a.git', 'https', 'git.example.test'],
    ['http://127.0.0.1:3000/a.git', 'http', '127.0.0.1:3000'],
  ])('accepts %s as %s', (url, kind, host) => {
    expect(parseRemoteUrl(url)).toEqual({ kind, url, host });
  });

  it.each([
    '', '-x', '--upload-pack=touch /tmp/x', 'ext::sh -c id', 'EXT::sh', 'fd::17', 'git://git.example.test/a', 'ftp://x/y', 'transport+ext://x',
    'https://user:secret@git.example.test/a', 'https://token@git.example.test/a', 'ssh://-oProxyCommand=id/x', 'ssh://-x@host/y', '-oProxyCommand=id:x',
    'git@-oProxyCommand=id:x', 'host:-x', 'https://a\n.test/x', 'x\0y', 'a\tb', ' /leading', 'https://', `/${'a'.repeat(3000)}`,
  ])('refuses %j', (url) => {
    expect(() => parseRemoteUrl(url)).toThrow(expect.objectContaining({ code: 'InvalidName' }));
  });

  it('never let a secret of the URL into the message', () => {
    expect(() => parseRemoteUrl('https://user:hunter2@git.example.test/a')).toThrow(expect.objectContaining({ message: expect.not.stringContaining('hunter2') }));
  });
});

describe('reference names', () => {
  it('are accepted only when git accepts them', async () => {
    const part = fc.stringMatching(/^[a-z@{}~^:?*[\\. \-_/\x01\x7fü]{1,8}$/);
    await fc.assert(
      fc.asyncProperty(fc.array(part, { minLength: 1, maxLength: 3 }), async (parts) => {
        const name = `refs/${parts.join('/')}`;
        if (!isAccepted(name)) return;
        await runProgram('git', ['check-ref-format', name]);
      }),
      { numRuns: 150 },
    );
  });

  it.each(['refs/heads/main', 'refs/heads/stella/approvals/sha256-abc/alice', 'HEAD', 'refs/heads/ü', 'refs/heads/a-b_c.d'])('accept %s', (name) => {
    expect(parseRefName(name)).toBe(name);
  });

  it.each(['main', '-x', 'refs/', 'refs/heads/', 'refs/heads/a.lock', 'refs/heads/.a', 'refs/heads/a..b', 'refs/heads/a b', 'refs/heads/a\nb', 'refs/heads/a^', 'refs/heads/@{x', 'refs//a'])('refuse %j', (name) => {
    expect(() => parseRefName(name)).toThrow(expect.objectContaining({ code: 'InvalidName' }));
  });

  it.each(['--upload-pack=x', 'main', '+main:main', 'refs/heads/*:refs/heads/a', 'refs/heads/a:refs/heads/b:refs/heads/c', 'refs/h*s/a:refs/h*s/b', '-:refs/heads/x'])('refuse the refspec %j', (refspec) => {
    expect(() => parseRefspec(refspec)).toThrow(expect.objectContaining({ code: 'InvalidName' }));
  });

  const isAccepted = (name: string): boolean => {
    try {
      return parseRefName(name) === name;
    } catch {
      return false;
    }
  };
});

describe('the environment of native git', () => {
  it('holds nothing of the user but what git needs, and no way to run something else', () => {
    const environment = hardenedEnvironment(
      { PATH: '/bin', HOME: '/home/x', GIT_DIR: '/evil', GIT_EXTERNAL_DIFF: 'x', GIT_CONFIG_PARAMETERS: 'x', GIT_ALTERNATE_OBJECT_DIRECTORIES: '/x', GIT_TRACE_CURL: '1', LD_PRELOAD: 'x', GIT_CONFIG_COUNT: '0', GIT_SSH_COMMAND: 'x', AWS_SECRET_ACCESS_KEY: 'x' },
      { gitFolder: '/srv/x.git' },
    );
    expect(environment).toMatchObject({ PATH: '/bin', HOME: '/home/x', GIT_DIR: '/srv/x.git', GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null', GIT_NO_REPLACE_OBJECTS: '1', GIT_TERMINAL_PROMPT: '0' });
    for (const name of ['GIT_EXTERNAL_DIFF', 'GIT_CONFIG_PARAMETERS', 'GIT_ALTERNATE_OBJECT_DIRECTORIES', 'GIT_TRACE_CURL', 'LD_PRELOAD', 'AWS_SECRET_ACCESS_KEY']) expect(environment).not.toHaveProperty(name);
    const config = Object.fromEntries(Array.from({ length: Number(environment['GIT_CONFIG_COUNT']) }, (_, i) => [environment[`GIT_CONFIG_KEY_${i}`], environment[`GIT_CONFIG_VALUE_${i}`]]));
    expect(config).toMatchObject({ 'core.hooksPath': '/dev/null', 'fetch.fsckObjects': 'true', 'transfer.fsckObjects': 'true', 'protocol.allow': 'never', 'http.followRedirects': 'false' });
  });
});

describe('tree objects', () => {
  const treeId = 'b'.repeat(40) as TreeId;

  it('survive a round trip in the order that git demands', () => {
    const name = fc.string({ unit: fc.constantFrom('a', 'b', '.', '-', '0', 'ÿ'), minLength: 1, maxLength: 4 });
    const entry = fc.record({ name, mode: fc.constantFrom('40000' as const, '100644' as const, '120000' as const), id: fc.constantFrom('1'.repeat(40), 'c'.repeat(40)) });
    fc.assert(
      fc.property(fc.uniqueArray(entry, { selector: (item) => item.name }), (entries) => {
        const parsed = parseTree(treeId, serializeTree(entries as unknown as RawTreeEntry[]));
        const key = (item: { name: string; mode: string }): string => (item.mode === '40000' ? `${item.name}/` : item.name);
        expect(parsed).toEqual([...entries].sort((a, b) => (key(a) < key(b) ? -1 : 1)));
        expect(serializeTree(parsed)).toEqual(serializeTree([...parsed].reverse()));
      }),
    );
  });

  it('are refused when they are cut off, at any byte', () => {
    const bytes = serializeTree([{ name: 'a', mode: '100644', id: parseBlobId('1'.repeat(40)) }]);
    for (let end = 1; end < bytes.length; end++) expect(() => parseTree(treeId, bytes.subarray(0, end))).toThrow(expect.objectContaining({ code: 'ObjectCorrupt' }));
  });

  it('are refused with names and modes that git never writes', () => {
    for (const head of ['100644 a/b\0', '100644 \0', '999 a\0', '160001 a\0', '040000 a\0']) {
      const bytes = Buffer.concat([Buffer.from(head), Buffer.alloc(20, 1)]);
      expect(() => parseTree(treeId, bytes)).toThrow(expect.objectContaining({ code: 'ObjectCorrupt' }));
    }
  });

  it('give paths as text exactly when they are UTF-8 and safe', () => {
    const latin1 = (text: string): string => Buffer.from(text).toString('latin1');
    expect(parsePath(latin1('apps/größe.yaml'))).toEqual({ ok: true, path: 'apps/größe.yaml' });
    expect(parsePath('a\xff')).toEqual({ ok: false, unreadable: { shown: 'a\\xff', reason: 'NotUtf8' } });
    for (const path of ['a/../b', './a', 'a//b', '.GIT/config', 'a\x1b[2J']) expect(parsePath(path)).toMatchObject({ ok: false, unreadable: { reason: 'Unsafe' } });
  });
});

describe('commit ids', () => {
  it('are 40 or 64 lower-case hexadecimal digits and not all zeros', () => {
    for (const id of ['a'.repeat(40), '0'.repeat(39) + '1', 'f'.repeat(64)]) expect(parseCommitId(id)).toBe(id);
    for (const id of ['', 'a'.repeat(39), 'a'.repeat(41), 'A'.repeat(40), '0'.repeat(40), '0'.repeat(64), `${'a'.repeat(40)}\n`, 'HEAD', null, 7]) expect(isCommitId(id)).toBe(false);
    expect(() => parseCommitId('HEAD')).toThrow(RangeError);
  });
});
