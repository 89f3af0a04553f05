import type { Digest } from '../core/model/digest.ts';
import type { RecordStep } from '../reconciler/read-evidence.ts';
import type { CloneParts, Evidence, OpenEvidence, Repository } from './clone.ts';
import { CliError, type CommandContext } from './command.ts';

/** The verified log of this clone. @throws CliError with the code of the first thing that is wrong */
export async function requireEvidence(
  context: CommandContext, clone: CloneParts, repository: Repository, visit?: (step: RecordStep, artifact: (d: Digest) => Uint8Array | undefined) => void,
): Promise<Evidence> {
  const pin = await clone.pinOf(context, repository);
  const opened = await clone.openEvidence(context, repository, pin, visit);
  if (opened.ok) return opened.evidence;
  throw new CliError(opened.code, `The evidence cannot be relied on: ${opened.code}: ${opened.message}.`, remedyFor(opened));
}

function remedyFor({ code }: OpenEvidence & { ok: false }): string | null {
  if (code === 'LogMissing' || code === 'Shallow' || code === 'Grafts' || code === 'ReplaceRefs') return null;
  if (code === 'RootMissing' || code === 'GenesisNotPinned') return 'Check the pin (git config stella.genesis), and that this is the right repository.';
  return 'Run `stella verify`, compare with another clone, and find out who wrote the evidence branch.';
}
