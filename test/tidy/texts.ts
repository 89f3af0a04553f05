import type { Finding } from './source.ts';

export type TextFile = { readonly path: string; readonly text: string };

// Put together from pieces, so that this file does not report itself.
const SUPPRESSIONS = new RegExp(['@ts-' + 'ignore', '@ts-' + 'nocheck', 'eslint-' + 'disable', 'prettier-' + 'ignore'].join('|'));
const MACHINE_PATHS = new RegExp(`(?<![\\w.~-])/(?:${['wo' + 'rk', 'fa' + 'rm'].join('|')})/\\w|/home/[a-z]\\w*/|[A-Z]:\\\\Users\\\\`);
const PACKAGE_HOSTS = new RegExp([['registry', 'npmjs', 'org'].join('\\.'), '"resol' + 'ved": *"http', '(?<![\\w-])artif' + 'actory\\.'].join('|'));
const UNFINISHED = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X'].join('|')})\\b`);

const TEXT_RULES: readonly { readonly pattern: RegExp; readonly message: string; readonly files: RegExp }[] = [
  { pattern: SUPPRESSIONS, message: 'switches a check off; change the code or the rule', files: /\.(ts|js)$/ },
  { pattern: MACHINE_PATHS, message: 'a path of one machine', files: /./ },
  { pattern: PACKAGE_HOSTS, message: 'a host of a package registry', files: /./ },
  { pattern: UNFINISHED, message: 'unfinished; finish it or write an issue', files: /\.(ts|js|sql|proto|md|yaml)$/ },
];

export function forbiddenTexts(file: TextFile): readonly Finding[] {
  const rules = TEXT_RULES.filter(({ pattern, files }) => files.test(file.path) && pattern.test(file.text));
  if (rules.length === 0) return [];
  return file.text.split('\n').flatMap((line, index) =>
    rules.filter(({ pattern }) => pattern.test(line)).map(({ message }) => ({ path: file.path, line: index + 1, message })),
  );
}

/** Files of `folder` count from one without a gap, so that two branches cannot both add the same number unseen. */
export function numbered(paths: readonly string[], folder: string, form: RegExp): readonly Finding[] {
  const mine = paths.filter((path) => path.startsWith(`${folder}/`) && !path.endsWith('/README.md')).sort();
  return mine.flatMap((path, index) => {
    const name = path.slice(folder.length + 1);
    const number = form.exec(name)?.[1];
    if (number === undefined) return [{ path, line: 1, message: `is not named ${form.source}` }];
    return Number(number) === index + 1 ? [] : [{ path, line: 1, message: `number ${index + 1} was expected here` }];
  });
}

/** Every property of a schema tells a person in an editor what it is for. */
export function undescribedProperties(file: TextFile): readonly Finding[] {
  const missing: string[] = [];
  const visit = (node: unknown, at: string): void => {
    if (typeof node !== 'object' || node === null) return;
    for (const [key, value] of Object.entries(node)) {
      if (key === 'properties' && !at.endsWith('/properties') && isRecord(value)) missing.push(...withoutDescription(value, at));
      visit(value, `${at}/${key}`);
    }
  };
  visit(JSON.parse(file.text), '');
  return missing.map((pointer) => ({ path: file.path, line: 1, message: `${pointer} has no description` }));
}

function withoutDescription(properties: Readonly<Record<string, unknown>>, at: string): readonly string[] {
  return Object.entries(properties)
    .filter(([, schema]) => isRecord(schema) && typeof schema['description'] !== 'string' && !isOnlyReference(schema))
    .map(([name]) => `${at}/properties/${name}`);
}

/** What is referred to carries the description; `const` and `if` branches of a described property need no second one. */
function isOnlyReference(schema: Readonly<Record<string, unknown>>): boolean {
  const keys = Object.keys(schema);
  return keys.length === 1 && (keys[0] === '$ref' || keys[0] === 'const' || keys[0] === 'enum');
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
