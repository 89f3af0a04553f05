import fc from 'fast-check';
import type { Approver, CountedApproval, DecisionInput, FreezeFact, GateFact, SourceFact } from '../../src/core/decision/types.ts';
import { formatInstant } from '../../src/core/model/instant.ts';
import type { Clause } from '../../src/core/model/preimages.ts';
import { approval, AS_OF, digest, factsOf, inputOf } from '../core/decision/inputs.ts';

const START = Date.parse(AS_OF);
const people = ['ann', 'bob', 'cid', 'dan', 'eve', 'rita'] as const;
const roles = ['qa', 'sre', 'owner'] as const;

export const arbitraryPerson = fc.constantFrom(...people);
const arbitraryRoles = fc.subarray([...roles]);
/** Within an hour of the usual moment of judgement. */
export const arbitraryInstant = fc.integer({ min: -3_600, max: 3_600 }).map((seconds) => formatInstant(START + seconds * 1000));

export const arbitraryApproval: fc.Arbitrary<CountedApproval> = fc
  .record({ who: arbitraryPerson, number: fc.nat(2), no: fc.integer({ min: 0, max: 9 }), expires: fc.option(arbitraryInstant) })
  .map(({ who, number, no, expires }) => approval(who, { number, action: no === 0 ? 'reject' : 'approve', expires }));

export const arbitraryClause: fc.Arbitrary<Clause> = fc.record({
  origin: fc.constantFrom('root', 'environment', 'target', 'application'),
  name: fc.constantFrom('prod', 'shop'),
  people: fc.nat(3),
  roles: arbitraryRoles.chain((some) => fc.tuple(...some.map((role) => fc.nat(2).map((count) => ({ role, count }))))),
  authorNeverApproves: fc.boolean(),
  unknownRequester: fc.constantFrom('deny', 'one-more'),
});

const arbitraryApprovers: fc.Arbitrary<readonly Approver[]> = fc
  .subarray([...people], { minLength: 3 })
  .chain((some) => fc.tuple(...some.map((principal) => arbitraryRoles.map((held) => ({ principal, roles: held })))));

const arbitrarySource: fc.Arbitrary<SourceFact> = fc.record({
  environment: fc.constantFrom('staging', 'canary', 'qa'), soakSeconds: fc.nat(3_600), succeededAt: fc.option(arbitraryInstant),
});

const weekdays = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;
export const arbitraryZone = fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Europe/Dublin', '+05:30', 'Asia/Kolkata');
/** Within some days of the usual moment of judgement. */
const arbitraryLocal = fc.integer({ min: -4_000, max: 4_000 }).map((minutes) => formatInstant(START + minutes * 60_000).slice(0, 16));
const arbitraryClock = fc.integer({ min: 0, max: 1439 }).map((m) => `${String(Math.floor(m / 60)).padStart(2, '0')}:${String(m % 60).padStart(2, '0')}`);
const arbitraryWindow = fc.record({ start: arbitraryLocal, end: arbitraryLocal, timeZone: arbitraryZone });
const wildWindow = fc.record({ start: fc.oneof(fc.string(), arbitraryLocal), end: fc.oneof(fc.string(), arbitraryLocal), timeZone: fc.oneof(fc.string(), arbitraryZone) });
export const arbitraryCalendar = fc.record({
  windows: fc.array(arbitraryWindow, { maxLength: 2 }), exceptions: fc.array(arbitraryWindow, { maxLength: 2 }),
  weekly: fc.array(fc.record({ days: fc.subarray([...weekdays], { minLength: 1 }), from: arbitraryClock, to: arbitraryClock, timeZone: arbitraryZone }), { maxLength: 2 }),
});
export const arbitraryFreeze: fc.Arbitrary<FreezeFact> = fc.record({
  name: fc.constantFrom('f1', 'f2'), stops: fc.constantFrom('place', 'release', 'agent'), calendar: fc.oneof({ weight: 1, arbitrary: fc.constant(null) }, { weight: 4, arbitrary: arbitraryCalendar }),
  except: fc.option(fc.record({ people: fc.nat(2), roles: arbitraryRoles.map((some) => some.map((role) => ({ role, count: 1 }))) })),
  excepts: fc.array(fc.tuple(arbitraryPerson, fc.nat(2)), { maxLength: 3 }).map((said) => said.map(([who, number]) => approval(who, { number }).document)),
});

const arbitraryExpression = fc.constantFrom(
  'true', 'environment == "prod"', 'source.branch == "main"', 'components.all(c, c in images)', 'variables.LEVEL == "info"', 'variables["absent"] == "x"', 'size(requesters) > 3', 'not an expression', 'attempt',
);
export const arbitraryGate: fc.Arbitrary<GateFact> = fc.oneof(
  fc.record({ name: fc.constantFrom('g1', 'g2'), type: fc.constant('window' as const), calendar: arbitraryCalendar }),
  fc.record({
    name: fc.constantFrom('g1', 'g3'), type: fc.constant('dependency' as const),
    on: fc.array(fc.record({ environment: fc.constantFrom('prod', 'staging'), application: fc.constantFrom('db', 'vault'), release: fc.option(fc.constantFrom('1.0.0', '2.0.0')), atLeast: fc.option(fc.constantFrom('1.5.0', 'nightly')), runs: fc.option(fc.constantFrom('1.0.0', '2.0.0', 'nightly'), { freq: 4 }) }), { maxLength: 3 }),
  }),
  fc.record({ name: fc.constant('g4'), type: fc.constant('concurrency' as const), most: fc.integer({ min: 1, max: 3 }), full: fc.boolean(), busy: fc.subarray(['prod/a', 'prod/b', 'qa/a']) }),
  fc.record({ name: fc.constant('g5'), type: fc.constant('expression' as const), expression: arbitraryExpression }),
  { weight: 1, arbitrary: fc.constantFrom<GateFact>({ name: 'g6', type: 'hold', reason: 'x' }, { name: 'g7', type: 'missing' }) },
);

const skips = ['approvals', 'source', 'window', 'dependency', 'concurrency', 'expression'] as const;
export const arbitraryBreakGlass = fc.record({
  skip: fc.subarray([...skips], { minLength: 1 }), reason: fc.constant('down'), expires: arbitraryInstant,
  allowed: fc.option(fc.record({ skip: fc.subarray([...skips], { minLength: 1 }), withinSeconds: fc.constantFrom(1_800, 7_200) }), { freq: 5 }),
});

/** Inputs of which about a third are allowed, so that laws about losing an allow are really tried. */
export const arbitraryInput: fc.Arbitrary<DecisionInput> = fc
  .record({
    clauses: fc.array(arbitraryClause, { maxLength: 3 }),
    approvers: arbitraryApprovers,
    approvals: fc.array(arbitraryApproval, { maxLength: 12 }),
    requesters: fc.record({ people: fc.subarray(['rita', 'eve']), unknown: fc.constantFrom(0, 0, 0, 1) }),
    sources: fc.array(arbitrarySource, { maxLength: 2 }),
    gates: fc.oneof({ weight: 7, arbitrary: fc.constant([]) }, { weight: 3, arbitrary: fc.array(arbitraryGate, { maxLength: 3 }) }),
    about: fc.constant(factsOf()),
    freezes: fc.oneof({ weight: 7, arbitrary: fc.constant([]) }, { weight: 3, arbitrary: fc.array(arbitraryFreeze, { maxLength: 2 }) }),
    allowSeconds: fc.nat(7_200),
    breakGlass: fc.oneof({ weight: 7, arbitrary: fc.constant(null) }, { weight: 3, arbitrary: arbitraryBreakGlass }),
    debts: fc.oneof({ weight: 9, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: fc.constant([digest('owed')]) }),
  })
  .map((more) => inputOf(more));

const wild = fc.oneof(fc.integer(), fc.double(), fc.maxSafeInteger());
const wildText = fc.string({ unit: 'binary' });
const wildDigest = wildText.map(digest);
const wildList = <T>(item: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(item, { maxLength: 4 });

const wildCalendar = fc.record({
  windows: wildList(wildWindow), exceptions: wildList(wildWindow),
  weekly: wildList(fc.record({ days: fc.subarray([...weekdays]), from: fc.oneof(wildText, arbitraryClock), to: fc.oneof(wildText, arbitraryClock), timeZone: fc.oneof(wildText, arbitraryZone) })),
});

/** Whatever the type lets through: times that are none, floats, lone surrogates, names that clash. */
export const arbitraryWildInput: fc.Arbitrary<DecisionInput> = fc.record({
  type: fc.constant('stella/decision-input/v1' as const), rules: fc.constant(1 as const), logId: wildDigest, tenant: wildText, environment: wildText, application: wildText,
  operation: fc.constantFrom('promote', 'remove'), release: fc.option(wildText), attempt: wild, promotion: wildDigest,
  derived: fc.option(fc.record({ from: fc.constantFrom('environment' as const, 'channel' as const), name: wildText })),
  ended: fc.constantFrom(null, 'Superseded', 'Withdrawn'), lock: fc.option(wildDigest), plan: fc.option(wildDigest), runs: fc.option(wildDigest), promotionDigest: fc.option(wildDigest),
  problems: wildList(fc.record({ code: fc.constantFrom('LockMissing', 'PlanInvalid', 'NothingToRemove'), detail: wildText })),
  state: fc.record({ generation: wild, lock: fc.option(wildDigest), runs: fc.option(wildDigest), clean: fc.boolean(), otherRunOpen: fc.option(wildDigest), previous: fc.option(fc.record({ lock: wildDigest, runs: wildDigest, replacedAt: wildText })), closed: fc.boolean() }),
  clauses: wildList(
    fc.record({
      origin: fc.constantFrom('root', 'environment', 'target', 'application'), name: wildText, people: wild,
      roles: wildList(fc.record({ role: fc.oneof(wildText, fc.constant('qa')), count: wild })), authorNeverApproves: fc.boolean(), unknownRequester: fc.constantFrom('deny', 'one-more'),
    }),
  ),
  mode: fc.constantFrom('standard', 'rollback', 'break-glass'), debts: wildList(wildDigest),
  breakGlass: fc.option(fc.record({
    skip: fc.subarray([...skips]), reason: wildText, expires: fc.oneof(wildText, arbitraryInstant), allowed: fc.option(fc.record({ skip: fc.subarray([...skips]), withinSeconds: wild })),
  })),
  approvers: wildList(fc.record({ principal: fc.oneof(wildText, arbitraryPerson), roles: wildList(fc.oneof(wildText, fc.constant('qa'))) })),
  requesters: fc.record({ people: wildList(wildText), unknown: wild }),
  approvals: wildList(
    fc.record({
      principal: fc.oneof(wildText, arbitraryPerson), document: wildDigest, payload: wildDigest, action: fc.constantFrom('approve', 'reject'), observedAt: wildText,
      expires: fc.option(fc.oneof(wildText, arbitraryInstant)),
    }),
  ),
  rejected: wildList(fc.record({ principal: wildText, document: wildDigest, code: fc.constantFrom('OtherDigest', 'Duplicate') })),
  freezes: wildList(
    fc.record({
      name: wildText, stops: fc.constantFrom('place', 'release', 'agent'), excepts: wildList(wildDigest),
      calendar: fc.option(wildCalendar),
      except: fc.option(fc.record({ people: wild, roles: wildList(fc.record({ role: fc.oneof(wildText, fc.constant('qa')), count: wild })) })),
    }),
  ),
  sources: wildList(fc.record({ environment: wildText, soakSeconds: wild, succeededAt: fc.option(fc.oneof(wildText, arbitraryInstant)) })),
  gates: wildList(fc.oneof(
    fc.record({ name: wildText, type: fc.constant('window' as const), calendar: wildCalendar }),
    fc.record({ name: wildText, type: fc.constant('dependency' as const), on: wildList(fc.record({ environment: wildText, application: wildText, release: fc.option(wildText), atLeast: fc.option(wildText), runs: fc.option(wildText) })) }),
    fc.record({ name: wildText, type: fc.constant('concurrency' as const), most: wild, full: fc.boolean(), busy: wildList(wildText) }),
    fc.record({ name: wildText, type: fc.constant('hold' as const), reason: wildText }), fc.record({ name: wildText, type: fc.constant('expression' as const), expression: fc.oneof(wildText, arbitraryExpression) }),
    fc.record({ name: wildText, type: fc.constant('missing' as const) }),
  )),
  hold: fc.option(wildText),
  about: fc.option(fc.record({
    environment: wildText, application: wildText, operation: wildText, release: wildText, previousRelease: wildText, attempt: wild, rollback: fc.boolean(), breakGlass: fc.boolean(), components: wildList(wildText),
    images: fc.dictionary(wildText, wildText), source: fc.dictionary(wildText, wildText), variables: fc.dictionary(wildText, wildText), secrets: wildList(wildText), targets: wildList(wildText), requesters: wildList(wildText),
    unknownRequesters: wild, sources: wildList(wildText),
  })),
  allowSeconds: wild, fallBackSeconds: wild, asOf: fc.oneof(wildText, arbitraryInstant),
});

/** The same input with every list in another order. */
export function shuffled(input: DecisionInput): fc.Arbitrary<DecisionInput> {
  const shuffle = <T>(list: readonly T[]): fc.Arbitrary<readonly T[]> => fc.shuffledSubarray([...list], { minLength: list.length });
  const clauses = input.clauses.map((clause) => shuffle(clause.roles).map((order) => ({ ...clause, roles: order })));
  const approvers = input.approvers.map((approver) => shuffle(approver.roles).map((order) => ({ ...approver, roles: order })));
  const gates = input.gates.map((gate) => (gate.type === 'dependency' ? shuffle(gate.on).map((on) => ({ ...gate, on })) : gate.type === 'concurrency' ? shuffle(gate.busy).map((busy) => ({ ...gate, busy })) : fc.constant(gate)));
  return fc.record({
    clauses: fc.tuple(...clauses).chain(shuffle), approvers: fc.tuple(...approvers).chain(shuffle), approvals: shuffle(input.approvals), freezes: shuffle(input.freezes),
    gates: fc.tuple(...gates).chain(shuffle), sources: shuffle(input.sources), problems: shuffle(input.problems), debts: shuffle(input.debts), people: shuffle(input.requesters.people),
  }).map(({ people: requesters, ...lists }) => ({ ...input, ...lists, requesters: { people: requesters, unknown: input.requesters.unknown } }));
}
