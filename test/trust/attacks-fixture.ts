import type { DecisionInput } from '../../src/core/decision/types.ts';
import { artifactPath } from '../../src/core/evidence/layout.ts';
import { appStateOf, type AppState } from '../../src/core/evidence/log-state.ts';
import type { PromotionDecisionPredicate } from '../../src/core/evidence/records.ts';
import type { Digest } from '../../src/core/model/digest.ts';
import { documentDigest, documentPreimage, type AnyDocument, type DocumentOf, type Kind, type ProtectedChange, type SpecOf } from '../../src/core/model/documents.ts';
import { changeDigest } from '../../src/core/model/preimages.ts';
import { changeTo } from '../../src/core/trust/apply-change.ts';
import type { Reconciler } from '../../src/reconciler/reconciler.ts';
import type { RecordStep } from '../../src/reconciler/read-evidence.ts';
import { signWith, type Signer } from '../fakes/git-repository.ts';
import { doc, World, type WorldOptions } from '../fakes/world.ts';
import type { Verdict } from './attack.ts';

export type Decided = PromotionDecisionPredicate;
export type ProtectedChangeRecord = Extract<RecordStep['record'], { type: 'protected-change' }>;
export type Executed = World['executor']['executed'];

/** A world that remembers the last decision about each environment and what was executed where. The application is `shop` unless another is named. */
export class Stage {
  readonly world: World;
  /** By environment for `shop`, by `<environment>/<application>` for others. */
  readonly decisions = new Map<string, Decided>();

  /** Every decision since the stage opened, oldest first. */
  readonly history: Decided[] = [];
  /** Every protected change that was recorded since the stage opened. */
  readonly changes: ProtectedChangeRecord[] = [];

  private constructor(world: World) {
    this.world = world;
  }

  static async open(options: WorldOptions = {}): Promise<Stage> {
    const world = await World.create({ ...options, idle: true });
    const stage = new Stage(world);
    await stage.reconciler();
    await stage.settle();
    return stage;
  }

  reconciler(): Promise<Reconciler> {
    const onRecord = ({ record }: Pick<RecordStep, 'record'>): void => {
      if (record.type === 'protected-change') this.changes.push(record);
      if (record.type === 'promotion-decision') this.history.push(record.predicate);
      if (record.type === 'promotion-decision') this.decisions.set(placeOf(record.predicate.environment, record.predicate.application), record.predicate);
    };
    return this.world.reconciler({ onRecord });
  }

  settle(): Promise<number> {
    return this.world.settle();
  }

  /** A server without memory of its own. */
  async restart(): Promise<void> {
    await this.world.restart();
    await this.reconciler();
    await this.settle();
  }

  async inForce(kind: Kind, name: string): Promise<Digest | null> {
    return (await this.world.state()).inForce.get(`${kind}/${name}`)?.digest ?? null;
  }

  /** What the conditions say is wrong, by kind and name. */
  async reasons(): Promise<readonly string[]> {
    const { conditions } = await this.reconciler();
    return conditions.all().filter((c) => c.type === 'Stalled').map((c) => c.reason);
  }

  /** What the repository's policy condition says. */
  async policyMessage(): Promise<string> {
    const { conditions } = await this.reconciler();
    return conditions.all().find((c) => c.kind === 'Policy')?.message ?? '';
  }

  app(environment: string, application = 'shop'): Promise<AppState> {
    return this.world.state().then((state) => appStateOf(state, environment, application));
  }

  decision(environment: string, application = 'shop'): Decided['decision'] {
    const found = this.decisions.get(placeOf(environment, application));
    if (found === undefined) throw new Error(`nothing was decided about ${environment}`);
    return found.decision;
  }

  digest(environment: string, application = 'shop'): Digest {
    const { promotionDigest } = this.decision(environment, application);
    if (promotionDigest === null) throw new Error(`${environment} has no promotion digest`);
    return promotionDigest;
  }

  executed(environment: string, release?: string): Executed {
    return this.world.executor.executed.filter((e) => e.environment === environment && (release === undefined || e.release === release));
  }

  /** Whether this release was allowed and ran. Codes: of the last decision there, and of the approvals that it did not count. */
  async verdict(environment: string, release: string, application = 'shop'): Promise<Verdict> {
    const { decision, input } = this.decisions.get(placeOf(environment, application)) ?? { decision: { reasons: [] }, input: null };
    const app = await this.app(environment, application);
    const rejected = input === null ? [] : (await this.artifact<DecisionInput>(input)).rejected;
    return { accepted: app.release === release && app.clean, codes: [...decision.reasons, ...rejected.map(({ code }) => code)], executed: this.executed(environment, release) };
  }

  /** Whether this protected document is in force. Codes: what the conditions say is wrong, with the codes of faulty declarations. */
  async changeVerdict(document: AnyDocument): Promise<Verdict> {
    const accepted = (await this.inForce(document.kind, document.metadata.name)) === documentDigest(document);
    const { conditions } = await this.reconciler();
    const faulty = conditions.all().flatMap(({ reason, message }) => (reason === 'Declaration' ? (/ error (\w+): /.exec(message)?.[1] ?? []) : []));
    return { accepted, codes: [...(await this.reasons()), ...faulty], executed: [] };
  }

  /** An artifact of the evidence branch. */
  async artifact<T>(digest: Digest): Promise<T> {
    return JSON.parse(await this.world.repository.git(['show', `stella/evidence:${artifactPath(digest)}`])) as T;
  }

  /** The list of one change from what is in force. @param to null deletes */
  async change(kind: Kind, name: string, to: AnyDocument | null): Promise<readonly ProtectedChange[]> {
    return [changeTo(await this.world.state(), kind, name, to === null ? null : documentDigest(to))];
  }

  changeApproval(by: Signer, changes: readonly ProtectedChange[], more: Partial<SpecOf['Approval']> = {}): Promise<DocumentOf<'Approval'>> {
    return this.world.approval(by, { type: 'change', digest: changeDigest(this.world.pin, changes), changes, ...more });
  }

  promotionApproval(by: Signer, environment: string, more: Partial<SpecOf['Approval']> = {}): Promise<DocumentOf<'Approval'>> {
    const { application = 'shop' } = more;
    return this.world.approval(by, { type: 'promotion', environment, application, digest: more.digest ?? this.digest(environment, application), ...more });
  }

  /** The same document with one signature of each key. */
  async signedApproval(document: DocumentOf<'Approval'>, keys: readonly Signer[]): Promise<DocumentOf<'Approval'>> {
    const preimage = documentPreimage(document);
    return { ...document, signatures: await Promise.all(keys.map((key) => signWith(key, preimage, 'stella-approval'))) };
  }

  close(): Promise<void> {
    return this.world.close();
  }
}

const placeOf = (environment: string, application: string): string => (application === 'shop' ? environment : `${environment}/${application}`);
export const releaseOf = (version: string, tag = version): DocumentOf<'Release'> => doc('Release', `shop/${version}`, { components: { api: { tag } } });
export const personOf = (name: string, keys: readonly Signer[], roles: readonly string[], more: Partial<SpecOf['Principal']> = {}): DocumentOf<'Principal'> =>
  doc('Principal', name, { type: 'person', keys: keys.map((key) => ({ key: key.publicKey, status: 'active' })), ...(roles.length === 0 ? {} : { roles: roles.map((role) => ({ role })) }), ...more });
