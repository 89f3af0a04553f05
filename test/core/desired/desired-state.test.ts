import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { applyFiles, documentsOf, emptyDesiredState, fileDiagnostics, findDocument, lookupIn, protectedDocuments, type DesiredState, type FileChange } from '../../../src/core/desired/desired-state.ts';
import type { Diagnostic } from '../../../src/core/desired/diagnostic.ts';
import { KINDS } from '../../../src/core/model/documents.ts';
import { parseText, places, stateOf, type Tree } from './fixture.ts';

const freeze = (name: string, reason = 'stop'): string => `apiVersion: stella/v1alpha1\nkind: Freeze\nmetadata: {name: ${name}}\nspec: {reason: ${reason}}\n`;
const release = (name: string): string => `apiVersion: stella/v1alpha1\nkind: Release\nmetadata: {name: ${name}}\nspec: {components: {api: {tag: x}}}\n`;
const promotion = (name: string, version: string): string => `apiVersion: stella/v1alpha1\nkind: Promotion\nmetadata: {name: ${name}}\nspec: {release: ${version}}\n`;
const change = (path: string, text: string | null): FileChange => ({ path, parsed: text === null ? null : parseText(path, text) });

const sorted = <T>(items: readonly T[]): readonly T[] => [...items].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));

/** All that callers can see of a state. */
function seen(state: DesiredState): unknown {
  return {
    documents: KINDS.flatMap((kind) => documentsOf(state, kind)).map((e) => [e.key, e.file, e.line, e.digest]),
    problems: fileDiagnostics(state),
    claims: sorted([...state.claims.entries()].map(([key, claims]) => [key, claims.map((c) => [c.file, c.line])])),
    files: sorted([...state.files.entries()].map(([path, file]) => [path, file.keys])),
    referrers: sorted([...state.referrers.entries()].map(([key, keys]) => [key, sorted([...keys.values()])])),
  };
}

describe('the desired state', () => {
  it('finds documents by kind and name, with their place', () => {
    const state = stateOf({ 'x/y.yaml': `${freeze('a')}---\n${freeze('b')}`, 'z.yaml': release('shop/1') });
    const found = findDocument(state, 'Freeze', 'b');
    expect(found.status === 'present' && [found.entry.file, found.entry.line]).toEqual(['x/y.yaml', 6]);
    expect(findDocument(state, 'Freeze', 'c').status).toBe('absent');
    expect(documentsOf(state, 'Freeze').map((e) => e.key)).toEqual(['Freeze/a', 'Freeze/b']);
    expect(protectedDocuments(state).map((e) => e.key)).toEqual(['Freeze/a', 'Freeze/b']);
    expect(lookupIn(state).get('Release', 'shop/1')?.file).toBe('z.yaml');
  });

  it('uses neither of two documents of one kind and name, and says so at both', () => {
    const state = stateOf({ 'b.yaml': `# x\n${freeze('a', 'other')}`, 'a.yaml': freeze('a'), 'c.yaml': freeze('c') });
    const found = findDocument(state, 'Freeze', 'a');
    expect(found.status === 'unusable' && found.reason).toBe('duplicate');
    expect(documentsOf(state, 'Freeze').map((e) => e.key)).toEqual(['Freeze/c']);
    expect(places(fileDiagnostics(state))).toEqual(['a.yaml:1 DuplicateDocument', 'b.yaml:2 DuplicateDocument']);
  });

  it('does the same within one file, and for two documents that are equal', () => {
    const state = stateOf({ 'a.yaml': `${freeze('a')}---\n${freeze('a')}` });
    expect(documentsOf(state, 'Freeze')).toEqual([]);
    expect(places(fileDiagnostics(state))).toEqual(['a.yaml:1 DuplicateDocument', 'a.yaml:6 DuplicateDocument']);
  });

  it('uses the one that is left once the other is gone', () => {
    const both = stateOf({ 'a.yaml': freeze('a'), 'b.yaml': freeze('a', 'other') });
    const { state, changed } = applyFiles(both, [change('a.yaml', null)]);
    expect(changed).toEqual(['Freeze/a']);
    expect(documentsOf(state, 'Freeze').map((e) => e.file)).toEqual(['b.yaml']);
    expect(fileDiagnostics(state)).toEqual([]);
    expect(documentsOf(both, 'Freeze')).toEqual([]);
  });

  it('does not take an invalid document for absent', () => {
    const state = stateOf({ 'a.yaml': freeze('a').replace('reason', 'reson'), 'b.yaml': freeze('b') });
    const found = findDocument(state, 'Freeze', 'a');
    expect(found.status === 'unusable' && [found.reason, found.claims.map((c) => c.file)]).toEqual(['invalid', ['a.yaml']]);
    expect(documentsOf(state, 'Freeze').map((e) => e.key)).toEqual(['Freeze/b']);
  });

  it('does not take a document with one name twice, or of an unsupported version, for absent', () => {
    const state = stateOf({ 'a.yaml': `${freeze('a')}spec: {}\n`, 'b.yaml': freeze('b').replace('v1alpha1', 'v9') });
    expect(['a', 'b'].map((name) => findDocument(state, 'Freeze', name).status)).toEqual(['unusable', 'unusable']);
  });

  it('does not take the documents of a broken file for absent', () => {
    const broken = ['x: [\n', ']\n', '  y: "\n', '&a\n'].map((end, i) => [`${i}.yaml`, `${promotion(`dev/a${i}`, '"1"')}---\n${freeze(`f${i}`)}${end}`] as const);
    const state = stateOf({ ...Object.fromEntries(broken), 'bom.yaml': `\uFEFF${freeze('bom')}`, 'deep.yaml': `${freeze('deep')}x: ${'['.repeat(1000)}` });
    expect(['f0', 'f1', 'f2', 'f3', 'bom', 'deep'].map((name) => findDocument(state, 'Freeze', name).status)).toEqual(Array.from({ length: 6 }, () => 'unusable'));
    for (let i = 0; i < broken.length; i++) expect(findDocument(state, 'Promotion', `dev/a${i}`).status).not.toBe('absent');
  });

  it('counts an invalid document as one of two of one name', () => {
    const state = stateOf({ 'a.yaml': freeze('a').replace('reason', 'reson'), 'b.yaml': freeze('a') });
    expect(findDocument(state, 'Freeze', 'a').status).toBe('unusable');
    expect(documentsOf(state, 'Freeze')).toEqual([]);
  });

  it('names the promotions of a release that changes', () => {
    const before = stateOf({ 'p.yaml': promotion('dev/shop', '"1"'), 'q.yaml': promotion('prod/shop', '"1"'), 'r.yaml': promotion('dev/blog', '"1"') });
    const { state, changed } = applyFiles(before, [change('releases/1.yaml', release('shop/1'))]);
    expect(changed).toEqual(['Promotion/dev/shop', 'Promotion/prod/shop', 'Release/shop/1']);
    const moved = applyFiles(state, [change('q.yaml', promotion('prod/shop', '"2"'))]).state;
    expect(applyFiles(moved, [change('releases/1.yaml', null)]).changed).toEqual(['Promotion/dev/shop', 'Release/shop/1']);
  });

  it('keeps a renamed file as one document', () => {
    const before = stateOf({ 'a.yaml': freeze('a') });
    const { state, changed } = applyFiles(before, [change('a.yaml', null), change('b.yaml', freeze('a'))]);
    expect(changed).toEqual(['Freeze/a']);
    expect(documentsOf(state, 'Freeze').map((e) => e.file)).toEqual(['b.yaml']);
  });

  it('names a file by the path that it has now, even if it was parsed under another', () => {
    const parsed = parseText('old.yaml', freeze('a').replace('reason', 'reson'));
    const { state } = applyFiles(emptyDesiredState(), [{ path: 'new.yaml', parsed }]);
    expect(new Set(fileDiagnostics(state).map((d: Diagnostic) => d.file))).toEqual(new Set(['new.yaml']));
  });

  it('is a function of the tree: in whatever order and portions files change, the end is the same', () => {
    const texts = [freeze('a'), freeze('b'), `${freeze('a')}---\n${freeze('b')}`, release('shop/1'), `${promotion('dev/shop', '"1"')}---\n${release('shop/1')}`, promotion('dev/shop', '"2"'), 'kind: Freeze\n', freeze('a').replace('reason', 'x'), 'a: 1\n'];
    const edit = fc.record({ path: fc.constantFrom('a.yaml', 'b.yaml', 'c/d.yaml', 'e.yml'), text: fc.option(fc.constantFrom(...texts)) });
    fc.assert(
      fc.property(fc.array(fc.uniqueArray(edit, { selector: (e) => e.path, maxLength: 4 }), { maxLength: 8 }), (batches) => {
        const tree = new Map<string, string>();
        let state = emptyDesiredState();
        for (const batch of batches) {
          state = applyFiles(state, batch.map(({ path, text }) => change(path, text))).state;
          for (const { path, text } of batch) if (text === null) tree.delete(path); else tree.set(path, text);
        }
        expect(seen(state)).toEqual(seen(stateOf(Object.fromEntries([...tree].reverse()) as Tree)));
      }),
    );
  });
});

describe('one change among many', () => {
  const filled = (count: number): DesiredState => {
    const parsed = parseText('x.yaml', freeze('x'));
    const [document] = parsed.documents;
    const many = Array.from({ length: count }, (_, i): FileChange => {
      const named = { ...document!, document: { ...document!.document, metadata: { name: `f${i}` } } };
      return { path: `freezes/${i}.yaml`, parsed: { ...parsed, path: `freezes/${i}.yaml`, documents: [named] } };
    });
    return applyFiles(emptyDesiredState(), many).state;
  };

  it('names only itself and leaves every other document the very same object', () => {
    const before = filled(5_000);
    const { state, changed } = applyFiles(before, [change('freezes/7.yaml', freeze('f7', 'other'))]);
    expect(changed).toEqual(['Freeze/f7']);
    const old = new Map(documentsOf(before, 'Freeze').map((e) => [e.key, e]));
    const others = documentsOf(state, 'Freeze').filter((e) => old.get(e.key) !== e);
    expect(others.map((e) => e.key)).toEqual(['Freeze/f7']);
  });
});
