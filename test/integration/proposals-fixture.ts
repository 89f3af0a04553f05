import type { CommitId } from '../../src/core/model/commit-id.ts';
import type { AnyDocument } from '../../src/core/model/documents.ts';
import type { EvidenceRecord } from '../../src/core/evidence/records.ts';
import { createProposals } from '../../src/reconciler/proposals/create-proposals.ts';
import { PromotionTrail } from '../../src/reconciler/proposals/promotion-trail.ts';
import type { Proposals, ProposalSettings } from '../../src/reconciler/proposals/proposals.ts';
import type { Reconciler } from '../../src/reconciler/reconciler.ts';
import type { Forge, ForgeStatus } from '../../src/ports/forge.ts';
import { directGitCommands } from '../../src/adapters/git/git-command.ts';
import { openMirror, type Mirror } from '../../src/adapters/git/mirror.ts';
import { join } from 'node:path';
import { ForgeMemory } from '../fakes/forge-memory.ts';
import { doc, World, type WorldOptions } from '../fakes/world.ts';

export const PLANS_REF = 'refs/heads/stella/plans';
export const release = (version: string, tag = version) => doc('Release', `shop/${version}`, { components: { api: { tag } } });

export type DeskOptions = { readonly forge?: boolean; /** In the place of the forge in memory. */ readonly adapter?: Forge; readonly world?: WorldOptions; readonly settings?: Partial<ProposalSettings>; readonly url?: string };

/** A world in which dev runs 1.0, a forge beside it, and a server that plans what is proposed. Time passes only when a test says so. */
export class Desk {
  readonly world: World;
  readonly forge: ForgeMemory;
  /** Every record that this server has read or written. */
  recorded: EvidenceRecord[] = [];
  readonly #options: DeskOptions;
  #mirror: Mirror | null = null;
  #opened = 0;
  reconciler!: Reconciler;
  proposals!: Proposals;

  private constructor(world: World, options: DeskOptions) {
    this.world = world;
    this.#options = options;
    this.forge = new ForgeMemory(world.repository, () => world.now);
  }

  static async open(options: DeskOptions = {}): Promise<Desk> {
    const world = await World.create({ ...options.world, idle: true });
    const desk = new Desk(world, options);
    await desk.start();
    for (const version of ['1.0', '1.1']) world.registry.put(`shop/api:${version}`, version);
    await world.commit([release('1.0'), release('1.1'), doc('Promotion', 'dev/shop', { release: '1.0' })], { by: world.people.alice });
    await desk.reconcile();
    await desk.pass();
    return desk;
  }

  /** Begins a server on an empty disk. */
  async start(): Promise<void> {
    const { world } = this;
    await this.#mirror?.close();
    await world.restart();
    const settings = { environment: { PATH: process.env['PATH'] }, commands: directGitCommands() };
    this.#mirror = await openMirror({ folder: join(world.folder, `desk-${(this.#opened += 1)}`), url: this.#options.url ?? world.repository.folder, settings, ownPid: process.pid });
    const { reader, remote, writer } = this.#mirror;
    const trail = new PromotionTrail();
    this.recorded = [];
    const parts = await world.parts({ reader, remote, evidence: { reader, remote, branch: writer.openBranch('refs/heads/stella/evidence') }, onRecord: ({ record }) => { trail.add(record); this.recorded.push(record); } });
    this.reconciler = await world.reconciler(parts);
    const forge: Forge | null = this.#options.forge === false ? null : (this.#options.adapter ?? this.forge);
    this.proposals = createProposals({
      ...parts, reconciler: this.reconciler, trail, forge, declarations: this.#mirror, evidence: this.#mirror, plansRef: PLANS_REF, folds: 'details',
      settings: { branches: ['refs/heads/promote/*'], context: 'stella/plan', mergedDays: 7, pollSeconds: 60, scope: 'test', ...this.#options.settings },
    });
  }

  /** Until the log stands still. */
  async reconcile(): Promise<void> {
    await this.world.settle();
  }

  /** One pass over proposals that asks the forge; one with a fault fails the test unless `fault` is expected. */
  async pass(options: { readonly fault?: string; readonly look?: boolean } = {}): Promise<void> {
    if (options.look !== false) this.proposals.look();
    const report = await this.proposals.pass();
    const code = report.fault?.code;
    if (code !== options.fault) throw new Error(`${code ?? 'no fault'}: ${report.fault?.message ?? ''}`);
  }

  /** A branch from main with these documents. */
  async branch(name: string, documents: readonly AnyDocument[], options: { readonly files?: Record<string, string>; readonly deletes?: readonly string[] } = {}): Promise<CommitId> {
    const main = (await this.world.repository.tip()) as CommitId;
    if ((await this.world.repository.tip(name)) === null) await this.world.repository.setBranch(name, main);
    return this.world.commit(documents, { by: this.world.people.alice, branch: name, ...options });
  }

  /** alice asks for a release in prod, on a branch. */
  async asks(name: string, version: string, environment = 'prod'): Promise<CommitId> {
    return this.branch(name, [await this.world.promotion(environment, version, { by: this.world.people.alice })]);
  }

  status(commit: CommitId): ForgeStatus | undefined {
    return this.forge.statusOf(commit);
  }

  /** The one comment of ours; more than one fails the test. */
  comment(number: number): string {
    const own = this.forge.commentsOf(number).filter(({ author }) => author === 'stella-bot');
    if (own.length > 1) throw new Error('a second sticky comment');
    return own[0]?.body ?? '';
  }

  /** Reasons of conditions of proposals, by name. */
  conditions(): Readonly<Record<string, string>> {
    return Object.fromEntries(this.reconciler.conditions.all().filter(({ kind }) => kind === 'Proposals').map(({ name, reason }) => [name, reason]));
  }

  later(seconds: number): void {
    this.world.now = new Date(this.world.now.getTime() + seconds * 1000);
  }

  async close(): Promise<void> {
    await this.#mirror?.close();
    await this.world.close();
  }
}
