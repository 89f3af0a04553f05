import { openForge, webhookReaderOf } from '../../adapters/forge/open-forge.ts';
import { secretResolver } from '../../agent/secret-resolver.ts';
import type { ForgeWebhook } from '../../api/world.ts';
import type { ProposalNumbers } from '../../api/metrics.ts';
import type { ServerConfig } from '../../config/server.ts';
import { plain } from '../../core/model/plain-text.ts';
import { ForgeError, type Forge, type ForgeDelivery } from '../../ports/forge.ts';
import { processTimers, ReconcileLoop } from '../../reconciler/loop.ts';
import { createProposals, type ProposalsWorld } from '../../reconciler/proposals/create-proposals.ts';
import { CliError } from '../command.ts';
import type { ServerWorld } from '../running-server.ts';

type Parts = Omit<ProposalsWorld, 'forge' | 'folds' | 'settings' | 'plansRef' | 'now'> & {
  readonly config: ServerConfig;
  readonly world: ServerWorld;
  /** Has the reconciler look again. */
  readonly wakeReconciler: (reason: string) => void;
};

export type RunningProposals = {
  readonly loop: ReconcileLoop;
  /** Null: the forge's paths do not exist. */
  readonly webhook: ForgeWebhook | null;
  readonly numbers: () => ProposalNumbers;
  /** Forge and remote are asked again. */
  look(reason: string): void;
  /** The reconciler may have moved what proposals are planned against. */
  worldMoved(): void;
};

/** The loop over proposals, beside that of the reconciler. @throws CliError `ForgeInvalid`, SecretUnavailable */
export async function openProposals(parts: Parts): Promise<RunningProposals> {
  const { config, world, reconciler, wakeReconciler } = parts;
  const { now, random = Math.random } = world;
  const forge = await forgeOf(config, world);
  const proposals = createProposals({
    ...parts, forge, folds: config.forge?.type === 'bitbucket' ? 'none' : 'details', plansRef: config.proposals.plansRef, now,
    settings: { ...config.proposals, pollSeconds: config.pollSeconds, scope: config.genesis.slice('sha256:'.length, 'sha256:'.length + 16) },
  });
  const said = { fault: '', isOwed: false };
  const loop = new ReconcileLoop({
    reconciler: proposals, now, timers: processTimers, random, pollSeconds: config.pollSeconds,
    onPass: ({ report }) => {
      const fault = report.fault === null ? '' : `${report.fault.code}: ${report.fault.message}`;
      if (fault !== said.fault) world.log(fault === '' ? 'info' : 'warn', fault === '' ? 'proposals are planned again' : 'proposals cannot be planned or told', report.fault ?? {});
      said.fault = fault;
      if (said.isOwed) wakeReconciler('webhook');
      said.isOwed = false;
    },
  });
  const look = (reason: string): void => {
    proposals.look();
    loop.wake(reason);
  };
  const seen: { foreign: number; moved: unknown } = { foreign: 0, moved: null };
  const onDelivery = (delivery: ForgeDelivery, isOurs: boolean): void => {
    noteForeign(reconciler.conditions, delivery, isOurs);
    if (!isOurs) return void (seen.foreign += 1);
    if (delivery.event === 'other') return;
    if (delivery.event === 'push') {
      wakeReconciler('webhook');
      return look('webhook');
    }
    // The status comes first; what is merged or approved there the reconciler sees right after it.
    said.isOwed ||= delivery.event !== 'comment';
    proposals.look('proposals');
    loop.wake('webhook');
  };
  return {
    loop, look, webhook: await webhookOf(config, world, onDelivery), numbers: () => ({ ...proposals.counts, foreignDeliveries: seen.foreign }),
    worldMoved: () => {
      const { snapshot } = reconciler;
      if (snapshot?.state === seen.moved) return;
      seen.moved = snapshot?.state ?? null;
      loop.wake('log');
    },
  };
}

/** A secret that calls for two repositories is one that somebody else holds. */
function noteForeign(conditions: Parts['reconciler']['conditions'], { repository }: ForgeDelivery, isOurs: boolean): void {
  if (!isOurs && repository === null) return;
  conditions.stalled('Proposals', 'webhook', isOurs ? null : { reason: 'ForeignDelivery', message: `a delivery came with our secret for ${plain(repository ?? '').slice(0, 200)}, and woke nobody: give each repository a secret of its own` });
}

async function forgeOf({ forge, offline, allowHosts, secretFolders }: ServerConfig, { environment, now, random = Math.random }: ServerWorld): Promise<Forge | null> {
  if (forge === null) return null;
  const secret = secretResolver({ environment, secretFolders });
  // At the start already: a reference that leads nowhere is found now.
  await secret(forge.tokenRef);
  try {
    return await openForge(forge.type, { url: forge.url, repository: forge.repository, account: forge.account, token: () => secret(forge.tokenRef) }, {
      now, random, sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)), allowedHosts: offline ? allowHosts : null,
    });
  } catch (cause) {
    if (cause instanceof ForgeError) throw new CliError('ForgeInvalid', cause.message, 'See forge.* in docs/server.md.');
    throw cause;
  }
}

async function webhookOf({ forge, secretFolders }: ServerConfig, { environment }: ServerWorld, onDelivery: ForgeWebhook['onDelivery']): Promise<ForgeWebhook | null> {
  if (forge === null || forge.webhookSecretRef === null) return null;
  const secret = secretResolver({ environment, secretFolders });
  return { reader: await webhookReaderOf(forge.type), secret: await secret(forge.webhookSecretRef), repository: forge.repository, onDelivery };
}
