import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { parse } from 'yaml';
import type { Json, JsonObject } from '../../../src/core/model/canonical-json.ts';
import { interpolate } from '../../../src/core/release/interpolate.ts';
import { mergeCompose } from '../../../src/core/release/merge-compose.ts';
import { renderCompose, type ComposeInput } from '../../../src/core/release/render-compose.ts';
import { renderYaml } from '../../../src/core/release/render-yaml.ts';

const API = `sha256:${'a'.repeat(64)}`;
const OTHER = `sha256:${'b'.repeat(64)}`;

function input(base: Json, change: Partial<ComposeInput> = {}): ComposeInput {
  return {
    path: 'apps/shop/compose.yaml', base, override: null, components: [{ repository: 'registry.example/shop/api', digest: API }],
    shipped: new Set(['apps/shop/nginx.conf', 'apps/shop/compose.yaml']), variables: { LEVEL: 'warn' }, secrets: new Set(['TOKEN']), labels: { 'stella.environment': 'prod' }, ...change,
  };
}

const service = (spec: JsonObject): Json => ({ services: { api: { image: 'registry.example/shop/api:1.4.0', ...spec } } });

function rendered(base: Json, change?: Partial<ComposeInput>): { services: Record<string, Record<string, unknown>> } & Record<string, unknown> {
  const result = renderCompose(input(base, change));
  if (!result.ok) throw new Error(result.detail);
  return parse(result.text) as ReturnType<typeof rendered>;
}

const refusal = (base: Json, change?: Partial<ComposeInput>): string => {
  const result = renderCompose(input(base, change));
  return result.ok ? 'accepted' : result.detail;
};

describe('the rendered Compose file', () => {
  it('pins the images of components by digest, whatever tag the file names', () => {
    expect(rendered(service({})).services['api']?.['image']).toBe(`registry.example/shop/api@${API}`);
    expect(rendered(service({ image: 'registry.example/shop/api' })).services['api']?.['image']).toBe(`registry.example/shop/api@${API}`);
    expect(rendered(service({ image: `registry.example/shop/api@${OTHER}` })).services['api']?.['image']).toBe(`registry.example/shop/api@${API}`);
  });

  it('keeps a foreign image that is pinned and refuses one that is not', () => {
    expect(rendered(service({ image: `docker.io/library/redis@${OTHER}` })).services['api']?.['image']).toBe(`docker.io/library/redis@${OTHER}`);
    expect(refusal(service({ image: 'redis:7' }))).toContain('not pinned by digest');
    expect(refusal({ services: { api: { command: 'x' } } })).toContain('no image');
  });

  it('resolves variables, keeps secrets as placeholders, and refuses what has no value', () => {
    const api = rendered(service({ environment: { A: '${LEVEL}', B: '$TOKEN', C: '${NONE:-d}', D: '$$X' } })).services['api'];
    expect(api?.['environment']).toEqual({ A: 'warn', B: '${TOKEN}', C: 'd', D: '$$X' });
    expect(refusal(service({ environment: { A: '${NONE}' } }))).toContain('NONE has no value');
    expect(refusal(service({ environment: { A: '${NONE:?please}' } }))).toContain('NONE has no value');
    expect(refusal(service({ environment: { A: 'cost: $ 5' } }))).toContain('lone $');
  });

  it('ships local references under their path in the repository and refuses those that are not listed', () => {
    const api = rendered(service({ volumes: ['./nginx.conf:/etc/nginx.conf:ro', '/srv/pages:/pages', 'named:/var'] })).services['api'];
    expect(api?.['volumes']).toEqual(['./apps/shop/nginx.conf:/etc/nginx.conf:ro', '/srv/pages:/pages', 'named:/var']);
    expect(refusal(service({ volumes: ['./other.conf:/x'] }))).toContain('not listed in deployment.files');
    expect(refusal(service({ env_file: './.env' }))).toContain('not listed');
    expect(refusal(service({ env_file: '/etc/passwd' }))).toContain('path of the target');
    expect(refusal(service({ label_file: './labels' }))).toContain('not listed');
    expect(refusal(service({ label_file: ['./labels'] }))).toContain('not listed');
    expect(refusal(service({ credential_spec: { file: 'c.json' } }))).toContain('not supported');
    expect(refusal(service({ volumes: [{ type: 'bind', source: '../../../../etc', target: '/x' }] }))).toContain('leaves the repository');
    expect(refusal({ ...(service({}) as JsonObject), configs: { c: { file: './other' } } })).toContain('not listed');
  });

  it.each([['build', { build: '.' }], ['extends', { extends: { file: 'x', service: 'y' } }]])('refuses %s', (word, spec) => {
    expect(refusal(service(spec as JsonObject))).toContain(word);
  });

  it('refuses include, a file without services, and one that is no mapping', () => {
    expect(refusal({ include: ['x'], services: {} })).toContain('include');
    expect(refusal({ services: {} })).toContain('no services');
    expect(refusal(['x'])).toContain('not a mapping');
  });

  it('lays the override over the base, and adds the labels that tell where it belongs', () => {
    const override = { path: 'apps/shop/env/prod.yaml', value: { services: { api: { environment: ['LEVEL=error'], ports: ['81:80'] } } } };
    const api = rendered(service({ environment: ['LEVEL=info', 'X=1'], ports: ['80:80'], labels: ['team=shop'] }), { override }).services['api'];
    expect(api).toMatchObject({ environment: { LEVEL: 'error', X: '1' }, ports: ['80:80', '81:80'], labels: { team: 'shop', 'stella.environment': 'prod' } });
  });

  it('drops the name that Compose v1 refuses', () => {
    expect(rendered({ name: 'mine', ...(service({}) as JsonObject) })['name']).toBeUndefined();
  });

  it('depends on nothing but its input: the order of members does not show', () => {
    const a = renderCompose(input({ services: { a: { image: `x@${OTHER}`, command: 'c' }, b: { image: `y@${OTHER}` } } }));
    const b = renderCompose(input({ services: { b: { image: `y@${OTHER}` }, a: { command: 'c', image: `x@${OTHER}` } } }));
    expect(a).toEqual(b);
  });
});

describe('our YAML', () => {
  it('is read back as the value it was made of', () => {
    const leaf = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.boolean(), fc.constant(null), fc.maxSafeInteger());
    const value = fc.letrec((tie) => ({
      node: fc.oneof({ depthSize: 'small' }, leaf, fc.array(tie('node'), { maxLength: 4 }), fc.dictionary(fc.string(), tie('node'), { maxKeys: 4 })),
    })).node;
    fc.assert(
      fc.property(value, (made) => {
        const plain = JSON.parse(JSON.stringify(made)) as Json;
        if (JSON.stringify(plain).includes('__proto__')) return;
        expect(parse(renderYaml(plain), { uniqueKeys: true, version: '1.2' })).toEqual(plain);
      }),
      { numRuns: 300 },
    );
  });
});

describe('interpolation', () => {
  it('leaves nothing of a value for Compose to replace again', () => {
    fc.assert(
      fc.property(fc.string(), (secretLooking) => {
        const result = interpolate('a-$X-b', { X: secretLooking }, new Set());
        expect(result).toEqual({ ok: true, text: `a-${secretLooking.replaceAll('$', '$$$$')}-b` });
      }),
    );
  });

  it.each([
    ['${X-d}', 'value'], ['${X:-d}', 'value'], ['${Y-d}', 'd'], ['${E:-d}', 'd'], ['${E-d}', ''], ['${X:+alt}', 'alt'], ['${E:+alt}', ''], ['${Y+alt}', ''], ['${__proto__-safe}', 'safe'],
  ])('reads %s as the Compose specification does', (text, expected) => {
    expect(interpolate(text, { X: 'value', E: '' }, new Set())).toEqual({ ok: true, text: expected });
  });
});

describe('merging', () => {
  it('replaces commands, appends other lists once, and merges volumes by their place in the container', () => {
    const merged = mergeCompose(
      { services: { a: { command: ['x'], dns: ['1'], volumes: ['./a:/d', './b:/e'] } } },
      { services: { a: { command: ['y'], dns: ['1', '2'], volumes: ['./c:/d'] } } },
    );
    expect(merged).toEqual({ services: { a: { command: ['y'], dns: ['1', '2'], volumes: ['./b:/e', './c:/d'] } } });
  });
});
