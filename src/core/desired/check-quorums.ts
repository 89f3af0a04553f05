import type { ApprovalRule, DocumentOf, Quorum, RoleCount } from '../model/documents.ts';
import type { Diagnostic } from './diagnostic.ts';
import { diagnosticAt, type DocumentLookup, type Located } from './document-lookup.ts';
import { fieldName, type FieldPath } from './source-position.ts';

/** Whether every demanded place can be filled by a person of its own. @param people the roles that each person holds */
export type CanFillRoles = (demands: readonly RoleCount[], people: readonly (readonly string[])[]) => boolean;

/** Where a rule is to be met; null: for every environment or application alike. */
type Place = { readonly environment: string | null; readonly application: string | null };
type Rule = { readonly located: Located; readonly path: FieldPath; readonly rule: ApprovalRule; readonly places: readonly Place[]; readonly isQuorum: boolean };

/** T10: thresholds below one or above the people who could meet them, and roles that nobody holds, in every rule. */
export function checkQuorums(documents: DocumentLookup, canFillRoles: CanFillRoles): readonly Diagnostic[] {
  const people = documents.all('Principal').map((p) => p.document).filter(isAblePerson);
  const deployable = deployablePlaces(documents);
  const rules = [...documents.all('TrustRoot').flatMap((root) => rulesOfRoot(root, deployable)), ...rulesBelow(documents, deployable)];
  const roots = documents.all('TrustRoot');
  return [...rootCount(documents), ...roots.flatMap((root) => checkThreshold(root, documents)), ...rules.flatMap((rule) => checkRule(rule, people, canFillRoles))];
}

/** T11, T24: only a person counts, only with a key that may still sign, and only while not suspended. */
function isAblePerson(principal: DocumentOf<'Principal'>): boolean {
  return principal.spec.type === 'person' && principal.spec.suspended === undefined && principal.spec.keys.some((key) => key.status === 'active');
}

function rootCount(documents: DocumentLookup): readonly Diagnostic[] {
  const roots = documents.all('TrustRoot');
  if (roots.length === 1) return [];
  const finding = { code: 'TrustRootCount', message: `there are ${roots.length} trust roots`, remedy: 'Keep exactly one TrustRoot; `stella init` writes the first one.' } as const;
  if (roots.length === 0) return [{ ...finding, severity: 'error', file: null, line: 0, column: 0 }];
  return roots.map((root) => diagnosticAt(root as Located, ['metadata', 'name'], finding));
}

function checkThreshold(root: Located<'TrustRoot'>, documents: DocumentLookup): readonly Diagnostic[] {
  const { keys, threshold } = root.document.spec;
  const found: Diagnostic[] = [];
  keys.forEach(({ principal }, i) => {
    if (documents.get('Principal', principal)?.document.spec.type !== 'service') return;
    found.push(
      diagnosticAt(root as Located, ['spec', 'keys', i, 'principal'], {
        code: 'NotAPerson', message: `root key ${i + 1} belongs to the service ${principal}`, remedy: 'Name a person: services never count for a quorum.',
      }),
    );
  });
  const people = new Set(keys.map((key) => key.principal)).size;
  if (threshold >= 1 && threshold <= people) return found;
  return [
    ...found,
    diagnosticAt(root as Located, ['spec', 'threshold'], {
      code: 'ThresholdUnreachable', message: `the threshold is ${threshold}, but ${people} ${people === 1 ? 'person holds' : 'people hold'} root keys`,
      remedy: `Write a threshold from 1 to ${people}, or add root keys of other people.`,
    }),
  ];
}

function rulesOfRoot(root: Located<'TrustRoot'>, deployable: readonly Place[]): readonly Rule[] {
  const { quorums, minimums } = root.document.spec;
  const located = root as Located;
  const quorum = (path: FieldPath, rule: Quorum): Rule => ({ located, path, rule, places: [{ environment: null, application: null }], isQuorum: true });
  const minimum = (list: 'environments' | 'targets') =>
    (minimums?.[list] ?? []).map((rule, i): Rule => {
      const places = list === 'environments' && rule.name !== '*' ? placesIn(rule.name, deployable) : [{ environment: null, application: null }];
      return { located, path: ['spec', 'minimums', list, i], rule, places, isQuorum: false };
    });
  return [
    quorum(['spec', 'quorums', 'default'], quorums.default),
    quorum(['spec', 'quorums', 'create'], quorums.create),
    ...Object.entries(quorums.kinds ?? {}).map(([kind, rule]) => quorum(['spec', 'quorums', 'kinds', kind], rule)),
    ...minimum('environments'),
    ...minimum('targets'),
    ...(minimums?.breakGlass === undefined ? [] : [{ located, path: ['spec', 'minimums', 'breakGlass'], rule: minimums.breakGlass, places: [{ environment: null, application: null }], isQuorum: false }]),
  ];
}

function rulesBelow(documents: DocumentLookup, deployable: readonly Place[]): readonly Rule[] {
  const rule = (located: Located, approvals: ApprovalRule | undefined, places: readonly Place[], path: FieldPath = ['spec', 'approvals']): readonly Rule[] =>
    approvals === undefined ? [] : [{ located, path, rule: approvals, places, isQuorum: false }];
  return [
    ...documents.all('Environment').flatMap((e) => {
      const { approvals, rollback, breakGlass } = e.document.spec;
      const places = placesIn(e.document.metadata.name, deployable);
      const own = (each: ApprovalRule | undefined, ...path: FieldPath): readonly Rule[] => rule(e as Located, each, places, ['spec', ...path]);
      return [...own(approvals, 'approvals'), ...own(rollback, 'rollback'), ...own(breakGlass, 'breakGlass'), ...own(breakGlass?.review, 'breakGlass', 'review')];
    }),
    ...documents.all('Application').flatMap((a) => {
      const own = deployable.filter((place) => place.application === a.document.metadata.name);
      return rule(a as Located, a.document.spec.approvals, own.length > 0 ? own : [{ environment: null, application: a.document.metadata.name }]);
    }),
  ];
}

function placesIn(environment: string, deployable: readonly Place[]): readonly Place[] {
  const own = deployable.filter((place) => place.environment === environment);
  return own.length > 0 ? own : [{ environment, application: null }];
}

/** Every environment and application that some target lets meet. */
function deployablePlaces(documents: DocumentLookup): readonly Place[] {
  const places = new Map<string, Place>();
  for (const { document } of documents.all('Target')) {
    for (const environment of document.spec.environments) {
      for (const application of document.spec.applications) places.set(`${environment}/${application}`, { environment, application });
    }
  }
  return [...places.values()];
}

/** Roles of one person there. For a quorum only those that are bound to nothing: protected documents belong to no environment. */
function rolesAt(principal: DocumentOf<'Principal'>, place: Place, isQuorum: boolean): readonly string[] {
  const bindings = principal.spec.roles ?? [];
  const reaches = (names: readonly string[] | undefined, name: string | null): boolean => names === undefined || (!isQuorum && (name === null || names.includes(name)));
  return bindings.filter((b) => reaches(b.environments, place.environment) && reaches(b.applications, place.application)).map((b) => b.role);
}

function checkRule(rule: Rule, people: readonly DocumentOf<'Principal'>[], canFillRoles: CanFillRoles): readonly Diagnostic[] {
  const demands = rule.rule.roles ?? [];
  for (const place of rule.places) {
    const held = people.map((person) => rolesAt(person, place, rule.isQuorum));
    const unheld = demands.findIndex(({ role }) => !held.some((roles) => roles.includes(role)));
    if (unheld >= 0) return [unheldRole(rule, place, unheld)];
    if (!isReachable(rule, held, canFillRoles)) return [unreachable(rule, place, held)];
  }
  return [];
}

/** Whether somebody could ask for it and enough others agree. */
function isReachable({ rule, isQuorum }: Rule, held: readonly (readonly string[])[], canFillRoles: CanFillRoles): boolean {
  const demands = rule.roles ?? [];
  const isMet = (voters: readonly (readonly string[])[]): boolean => rule.people >= 1 && countable(demands, voters) >= rule.people && canFillRoles(demands, voters);
  if (isQuorum || rule.authorNeverApproves === false) return isMet(held);
  // T19: whoever asks is left out, and in the best case that is somebody whose vote is not needed.
  return held.some((_, asker) => isMet(held.filter((_other, i) => i !== asker)));
}

/** T21: people in the demanded roles. */
function countable(demands: readonly RoleCount[], held: readonly (readonly string[])[]): number {
  if (demands.length === 0) return held.length;
  return held.filter((roles) => demands.some(({ role }) => roles.includes(role))).length;
}

function placeName(place: Place): string {
  const names = [place.environment === null ? [] : [`environment ${place.environment}`], place.application === null ? [] : [`application ${place.application}`]].flat();
  return names.length === 0 ? '' : ` for ${names.join(' and ')}`;
}

function unheldRole(rule: Rule, place: Place, index: number): Diagnostic {
  const role = rule.rule.roles?.[index]?.role ?? '';
  const path = [...rule.path, 'roles', index, 'role'];
  const reach = rule.isQuorum ? ' without limits to environments or applications' : placeName(place);
  return diagnosticAt(rule.located, path, {
    code: 'RoleUnheld', message: `\`${fieldName(path)}\` demands the role ${role}, which no person with an active key holds${reach}`,
    remedy: `Give the role ${role} to a Principal in the same change, or demand another role.`,
  });
}

function unreachable(rule: Rule, place: Place, held: readonly (readonly string[])[]): Diagnostic {
  const path = [...rule.path, 'people'];
  const count = countable(rule.rule.roles ?? [], held);
  const excluded = rule.isQuorum || rule.rule.authorNeverApproves === false ? '' : '; who asks for it does not count';
  return diagnosticAt(rule.located, path, {
    code: 'ThresholdUnreachable', message: `\`${fieldName(rule.path)}\` can never be met${placeName(place)}: ${count} ${count === 1 ? 'person' : 'people'} could agree${excluded}`,
    remedy: 'Demand fewer people, or give the demanded roles to more people in the same change.',
  });
}

/** Which rule of its document a diagnostic of this file is about, whoever is left to meet it; null for any other. */
export function ruleOf({ code, message }: Diagnostic): string | null {
  if (code !== 'ThresholdUnreachable' && code !== 'RoleUnheld') return null;
  const [, field = message] = /^`([^`]*)`/.exec(message) ?? [];
  return field.replace(/\.roles\[\d+\]\.role$/, '');
}
