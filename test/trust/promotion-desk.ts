import { digestOf, type Digest, type Preimage } from '../../src/core/model/digest.ts';
import type { AnyDocument, DocumentOf, SpecOf } from '../../src/core/model/documents.ts';
import { releaseSpecDigest, type PromotionPreimage } from '../../src/core/model/preimages.ts';
import type { DecisionInput } from '../../src/core/decision/types.ts';
import type { Signer } from '../fakes/git-repository.ts';
import { doc } from '../fakes/world.ts';
import type { Verdict } from './attack.ts';
import { releaseOf, type Stage } from './attacks-fixture.ts';

/** One release of `shop` that somebody wants in one environment; each attack has one of its own, each twin another. */
export class Desk {
  readonly stage: Stage;
  readonly environment: string;
  readonly release: string;

  private constructor(stage: Stage, environment: string, release: string) {
    this.stage = stage;
    this.environment = environment;
    this.release = release;
  }

  /** A release that nobody has asked for yet. Its image is in the registry. */
  static fresh(stage: Stage, environment = 'prod'): Desk {
    const desk = new Desk(stage, environment, `${stage.world.registry.tags.size + 1}.0`);
    stage.world.registry.put(`shop/api:${desk.release}`, `genuine ${desk.release}`);
    return desk;
  }

  /** Asked for by `by`, with their intent and in a commit of theirs; then it lacks nothing but approvals. */
  static async asked(stage: Stage, environment = 'prod', by: Signer = stage.world.people.alice, more: readonly AnyDocument[] = []): Promise<Desk> {
    const desk = Desk.fresh(stage, environment);
    await desk.ask(by, more);
    const { outcome, reasons } = stage.decision(environment);
    if (outcome !== 'pending' || reasons.join() !== 'ApprovalsMissing') throw new Error(`${desk.release} in ${environment}: ${outcome} ${reasons.join()}`);
    return desk;
  }

  promotion(by: Signer | null, attempt?: number): Promise<DocumentOf<'Promotion'>> {
    const { stage, environment, release } = this;
    return stage.world.promotion(environment, release, { ...(by === null ? {} : { by }), ...(attempt === undefined ? {} : { attempt }), releaseSpec: releaseSpecDigest(releaseOf(release)) });
  }

  async ask(by: Signer, more: readonly AnyDocument[] = [], attempt?: number): Promise<void> {
    await this.stage.world.commit([releaseOf(this.release), await this.promotion(by, attempt), ...more], { by });
    await this.stage.settle();
  }

  /** An approval of what is asked now, signed but not handed in. */
  approval(by: Signer, more: Partial<SpecOf['Approval']> = {}): Promise<DocumentOf<'Approval'>> {
    return this.stage.promotionApproval(by, this.environment, more);
  }

  /** Hands in approvals, in a commit that nobody signed, and says what came of the release. */
  async hand(...approvals: readonly AnyDocument[]): Promise<Verdict> {
    await this.stage.world.commit(approvals, {});
    await this.stage.settle();
    return this.verdict();
  }

  async approvedBy(...people: readonly Signer[]): Promise<Verdict> {
    return this.hand(...(await Promise.all(people.map((by) => this.approval(by)))));
  }

  verdict(): Promise<Verdict> {
    return this.stage.verdict(this.environment, this.release);
  }

  /** The promotion digest that is asked for now, had it been asked for elsewhere. */
  async digestWith(elsewhere: Partial<PromotionPreimage>): Promise<Digest> {
    const decided = this.stage.decisions.get(this.environment);
    if (decided === undefined) throw new Error(`nothing was decided about ${this.environment}`);
    const { logId, tenant, environment, application, state, lock, plan, clauses, promotionDigest } = await this.stage.artifact<DecisionInput>(decided.input);
    if (plan === null) throw new Error('there is no plan');
    const preimage: PromotionPreimage = { type: 'stella/promotion/v1', logId, tenant, environment, application, generation: state.generation, replaces: state.lock, replacesRuns: state.runs, lock, plan, rules: clauses };
    if (digestOf(preimage as unknown as Preimage) !== promotionDigest) throw new Error('this is not the preimage of the promotion digest');
    return digestOf({ ...preimage, ...elsewhere } as unknown as Preimage);
  }
}

/** A target of `shop`. */
export const targetOf = (name: string, environment: string, root = `/srv/${environment}`): DocumentOf<'Target'> =>
  doc('Target', name, { type: 'directory_host', agent: 'host', environments: [environment], applications: ['shop'], connection: { root } });

/** Puts a protected document in force by alice's approval. */
export async function putInForce(stage: Stage, document: AnyDocument): Promise<void> {
  const { alice } = stage.world.people;
  const changes = await stage.change(document.kind, document.metadata.name, document);
  await stage.world.commit([document, await stage.changeApproval(alice, changes)], { by: alice });
  await stage.settle();
  if ((await stage.inForce(document.kind, document.metadata.name)) !== changes[0]?.to) throw new Error(`${document.kind}/${document.metadata.name}: ${await stage.policyMessage()}`);
}
