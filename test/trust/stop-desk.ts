import { documentDigest, type AnyDocument, type DocumentOf, type ProtectedChange } from '../../src/core/model/documents.ts';
import { changeDigest } from '../../src/core/model/preimages.ts';
import { changeTo } from '../../src/core/trust/apply-change.ts';
import type { SshKey } from '../fakes/git-repository.ts';
import { pathOf, yamlOf } from '../fakes/world.ts';
import { verdict, type Verdict } from './attack.ts';
import type { Stage } from './attacks-fixture.ts';

/** The list that puts these documents in force in place of what is. */
export async function listOf(stage: Stage, documents: readonly AnyDocument[]): Promise<readonly ProtectedChange[]> {
  const state = await stage.world.state();
  return documents.map((d) => changeTo(state, d.kind, d.metadata.name, documentDigest(d))).sort((a, b) => (`${a.kind}/${a.name}` < `${b.kind}/${b.name}` ? -1 : 1));
}

/** Pushes a branch with stops as `stella stop` does: the documents and a signed approval of the list, and nothing to the target branch. */
export async function pushStop(stage: Stage, by: SshKey, documents: readonly AnyDocument[], more: { readonly changes?: readonly ProtectedChange[]; readonly approval?: DocumentOf<'Approval'> } = {}): Promise<DocumentOf<'Approval'>> {
  const changes = more.changes ?? (await listOf(stage, documents));
  const approval = more.approval ?? (await stage.changeApproval(by, changes));
  const files = Object.fromEntries(documents.map((d, i) => [`stops/${i}-${d.kind.toLowerCase()}.yaml`, yamlOf(d)]));
  const branch = `stella/stops/${changeDigest(stage.world.pin, changes).slice(7, 23)}-${approval.metadata.name}`;
  await stage.world.repository.commit({ message: 'Stop', branch, parents: [], files: { ...files, [pathOf(approval)]: yamlOf(approval) } });
  return approval;
}

/** Whether all of these are in force; codes: of the condition of this stop. */
export async function stopVerdict(stage: Stage, documents: readonly AnyDocument[], { spec }: DocumentOf<'Approval'>): Promise<Verdict> {
  await stage.settle();
  const { conditions } = await stage.reconciler();
  const inForce = await Promise.all(documents.map(async (d) => (await stage.inForce(d.kind, d.metadata.name)) === documentDigest(d)));
  return { ...verdict(null), accepted: inForce.every(Boolean), codes: conditions.all().flatMap(({ kind, name, reason }) => (kind === 'Stop' && name === spec.digest ? [reason] : [])) };
}
