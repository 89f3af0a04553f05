import { rm } from 'node:fs/promises';
import { afterAll, beforeAll } from 'vitest';
import type { Digest } from '../../src/core/model/digest.ts';
import type { AnyDocument, SpecOf } from '../../src/core/model/documents.ts';
import { proveOrder } from '../../src/core/order/prove-order.ts';
import { buildBundle } from '../../src/reconciler/build-bundle.ts';
import { createTemporaryFolder } from '../fakes/git-repository.ts';
import { documentOf, LogFixture } from '../fakes/log-fixture.ts';
import { openPgp } from '../fakes/openpgp.ts';
import { doc, pathOf, yamlOf } from '../fakes/world.ts';
import { attack, proofVerdict, type Verdict } from './attack.ts';
import { Stage } from './attacks-fixture.ts';

/** Ways around a gate. Each attack has an environment of its own, which names a hold of its own; alice asks, bob is the admin. */
const PLACES = ['weaker', 'gone', 'unnamed', 'looser', 'hidden', 'lifted', 'kept'] as const;
type Place = (typeof PLACES)[number];

const hold = (place: Place): AnyDocument => doc('Gate', `hold-${place}`, { type: 'hold', reason: 'until ops took over' });
const harmless = (place: Place): AnyDocument => doc('Gate', `hold-${place}`, { type: 'concurrency', most: 50 });
const environment = (place: Place, more: Partial<SpecOf['Environment']> = {}): AnyDocument => doc('Environment', place, { order: 10 + PLACES.indexOf(place), gates: [`hold-${place}`], ...more });
const application = (gates: readonly string[]): AnyDocument => doc('Application', 'shop', { components: ['api'], deployment: { type: 'directory' }, ...(gates.length === 0 ? {} : { gates }) });

let stage: Stage;
let folder: string;
let made = 0;
beforeAll(async () => {
  folder = await createTemporaryFolder();
  stage = await Stage.open({
    documents: [
      ...PLACES.flatMap((place) => [
        hold(place), environment(place, place === 'lifted' || place === 'kept' ? { gates: ['open'], approvals: { people: 1, roles: [{ role: 'sre', count: 1 }] } } : {}),
        doc('Target', `t-${place}`, { type: 'directory_host', agent: 'host', environments: [place], applications: ['shop'], connection: { root: `/srv/${place}` } }),
      ]),
      doc('Gate', 'open', { type: 'concurrency', most: 50 }), application(['open']),
    ],
  });
  stage.world.registry.put('shop/api:1.0', 'one');
  await stage.world.commit([doc('Release', 'shop/1.0', { components: { api: { tag: '1.0' } } })], { by: stage.world.people.alice });
  await stage.settle();
});
afterAll(async () => {
  await stage.close();
  await rm(folder, { recursive: true, force: true });
});

/** A pull request that asks for 1.0 and changes these, and is merged by a commit of alice. */
async function merged(place: Place, documents: readonly AnyDocument[], options: { readonly deletes?: readonly string[]; readonly files?: Record<string, string>; readonly approved?: AnyDocument | null } = {}): Promise<Verdict> {
  const { world } = stage;
  const approvals = options.approved === undefined ? [] : [await stage.changeApproval(world.people.bob, await stage.change(options.approved?.kind ?? 'Gate', options.approved?.metadata.name ?? `hold-${place}`, options.approved))];
  await world.commit([doc('Promotion', `${place}/shop`, { release: '1.0' }), ...documents, ...approvals], { by: world.people.alice, ...(options.deletes === undefined ? {} : { deletes: options.deletes }), ...(options.files === undefined ? {} : { files: options.files }) });
  await stage.settle();
  return stage.verdict(place, '1.0');
}

attack('gate weakened in the same pull request as the promotion', {
  rules: ['T14', 'T15'], expects: 'Held',
  attempt: () => merged('weaker', [harmless('weaker')]), twin: () => merged('weaker', [harmless('weaker')], { approved: harmless('weaker') }),
});

attack('gate deleted in the same pull request as the promotion', {
  rules: ['T12', 'T14', 'T15'], expects: 'Held',
  attempt: () => merged('gone', [], { deletes: [pathOf(hold('gone'))] }),
  // Once nobody names it any more, it may go.
  twin: () => merged('gone', [environment('gone', { gates: ['open'] })], { approved: environment('gone', { gates: ['open'] }) }),
});

attack('gate taken off the list of its environment in the same pull request', {
  rules: ['T14', 'T15'], expects: 'Held',
  attempt: () => merged('unnamed', [environment('unnamed', { gates: ['open'] })]), twin: () => merged('unnamed', [environment('unnamed', { gates: ['open'] })], { approved: environment('unnamed', { gates: ['open'] }) }),
});

attack('gate of an environment taken away by the application', {
  rules: ['T17'], expects: 'Held',
  attempt: () => merged('looser', [application([])], { approved: application([]) }), twin: () => merged('looser', [environment('looser', { gates: ['open'] })], { approved: environment('looser', { gates: ['open'] }) }),
});

attack('gate replaced by one that hides in the file of the promotion', {
  rules: ['T10', 'T15'], expects: 'Held',
  attempt: () => merged('hidden', [], { files: { 'promotions/hidden/shop.yaml': `${yamlOf(doc('Promotion', 'hidden/shop', { release: '1.0' }))}---\n${yamlOf(harmless('hidden'))}` }, deletes: [pathOf(hold('hidden'))] }),
  // Where a document lies says nothing: with the quorum's yes it counts.
  twin: () => merged('hidden', [], { files: { 'promotions/hidden/shop.yaml': `${yamlOf(doc('Promotion', 'hidden/shop', { release: '1.0' }))}---\n${yamlOf(harmless('hidden'))}` }, approved: harmless('hidden') }),
});

/** bob says yes while alice's promotion is on hold; then `by` takes the hold away. */
async function lifted(by: 'alice' | 'bob', place: Place): Promise<Verdict> {
  const { world } = stage;
  const request = (held: boolean): AnyDocument => doc('Promotion', `${place}/shop`, { release: '1.0', ...(held ? { hold: 'not before the sale' } : {}) });
  await world.commit([request(true)], { by: world.people.alice });
  await stage.settle();
  await world.commit([await stage.promotionApproval(world.people.bob, place)], { by: world.people.alice });
  await stage.settle();
  await world.commit([request(false)], { by: world.people[by] });
  await stage.settle();
  return stage.verdict(place, '1.0');
}

attack('hold of a promotion taken away by who approved it, who asked for it then', { rules: ['T19'], expects: 'Requester', attempt: () => lifted('bob', 'lifted'), twin: () => lifted('alice', 'kept') });

/** An expression comes before a quorum that says yes without looking. */
async function conditionVerdict(name: string, expression: string): Promise<Verdict> {
  const gate = doc('Gate', name, { type: 'expression', expression });
  await stage.world.commit([gate, await stage.changeApproval(stage.world.people.bob, await stage.change('Gate', name, gate))], { by: stage.world.people.alice });
  await stage.settle();
  return stage.changeVerdict(gate);
}

attack('expression that backtracks for hours', {
  rules: ['T12'], expects: 'ChangeRefused', attempt: () => conditionVerdict('backtracks', 'release.matches("(a+)+$")'), twin: () => conditionVerdict('backtracks', 'release.startsWith("1.")'),
});
attack('expression that doubles what it holds', {
  rules: ['T12'], expects: 'ChangeRefused', attempt: () => conditionVerdict('doubles', '[components].map(a, [a, a]).map(b, [b, b]) == [[components]]'), twin: () => conditionVerdict('doubles', '[components].exists(a, a == components)'),
});

/** prod behind these gates, with broken glass that may skip all that can be skipped. */
async function freshLog(gates: Readonly<Record<string, SpecOf['Gate']>>, named = Object.keys(gates)): Promise<LogFixture> {
  const one = { people: 1, roles: [{ role: 'sre', count: 1 }] };
  const log = await LogFixture.create(`${folder}/${++made}`, {
    minimums: { breakGlass: { people: 1 } },
    environment: { gates: named, breakGlass: { ...one, skip: ['approvals', 'source', 'window', 'dependency', 'concurrency', 'expression'], withinSeconds: 86_400, review: one } },
  });
  for (const [name, spec] of Object.entries(gates)) await log.change(documentOf('Gate', name, spec) as unknown as AnyDocument);
  log.lock('1.0.0');
  return log;
}

async function brokenGlass(gates: Readonly<Record<string, SpecOf['Gate']>>): Promise<Verdict> {
  const log = await freshLog(gates);
  await log.promote({ release: '1.0.0', breakGlass: { skip: ['window', 'dependency', 'concurrency', 'expression'], reason: 'shop is down', expires: new Date(log.now.getTime() + 3_600_000).toISOString() } });
  const { decision } = await log.approve('bob');
  return { accepted: log.app.openRun !== null, codes: decision.reasons, executed: [] };
}

const closed: SpecOf['Gate'] = { type: 'window', calendar: { windows: [{ start: '2001-01-01T00:00', end: '2001-01-02T00:00', timeZone: 'UTC' }] } };
const open: SpecOf['Gate'] = { type: 'window', calendar: { windows: [{ start: '2001-01-01T00:00', end: '2101-01-02T00:00', timeZone: 'UTC' }] } };
const handover: SpecOf['Gate'] = { type: 'hold', reason: 'until ops took over' };

attack("break-glass past somebody else's hold", {
  rules: ['T27'], expects: 'Held', attempt: () => brokenGlass({ handover }), twin: () => brokenGlass({ closed, never: { type: 'expression', expression: 'false' } }),
});

/** What the agent says to an order for the last decision, which a thief of the server's keys calls an allow. */
async function ordered(log: LogFixture, promotion: SpecOf['Promotion'] = { release: '1.0.0' }): Promise<Verdict> {
  await log.promote(promotion);
  await log.approve('bob');
  if (log.app.openRun === null) log.forgeAllow();
  const decision = { seq: log.app.lastDecision?.seq ?? -1, digest: log.app.lastDecision?.digest as Digest };
  const built = await buildBundle({ type: 'stella/order/v1', decision: decision.digest, operation: 'promote', target: 'web-1', try: 1 }, decision, log);
  if (!built.ok) throw new Error(built.message);
  return proofVerdict(proveOrder({ bundle: built.bundle, pin: log.pin, agent: 'anna', memory: { protectedChange: null, lastOrders: () => [], hasRun: () => false }, now: log.now.getTime(), openPgp }));
}

attack("order past a hold by a thief of the server's keys", { rules: ['T12', 'T14'], expects: 'GateClosed', attempt: async () => ordered(await freshLog({ gate: handover })), twin: async () => ordered(await freshLog({ gate: open })) });
attack("order outside a window by a thief of the server's keys", { rules: ['T14', 'T23'], expects: 'GateClosed', attempt: async () => ordered(await freshLog({ gate: closed })), twin: async () => ordered(await freshLog({ gate: open })) });
attack("order past a gate that is missing by a thief of the server's keys", { rules: ['T12'], expects: 'GateClosed', attempt: async () => ordered(await freshLog({}, ['gate'])), twin: async () => ordered(await freshLog({ gate: open })) });
attack("order for a promotion on hold by a thief of the server's keys", {
  rules: ['T14'], expects: 'GateClosed', attempt: async () => ordered(await freshLog({ gate: open }), { release: '1.0.0', hold: 'not before the sale' }), twin: async () => ordered(await freshLog({ gate: open })),
});
