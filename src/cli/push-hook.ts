import type { CloneParts, Repository } from './clone.ts';
import { CliError } from './command.ts';

const MARK = '# written by stella check --install-hook';

/** Git gives a line for each ref that is pushed: local ref, local commit, remote ref, remote commit. A deletion has zeros for its commit. */
const SCRIPT = `#!/bin/sh
${MARK}
# Tells before a push what would be refused. Left out once: git push --no-verify
command -v stella >/dev/null 2>&1 || { echo 'stella is not on the PATH: nothing is checked before this push' >&2; exit 0; }
while read -r local_ref local_commit remote_ref remote_commit; do
  case "$local_commit" in *[!0]*) ;; *) continue ;; esac
  case "$remote_ref" in refs/heads/stella/*) continue ;; refs/heads/*) ;; *) continue ;; esac
  stella check "$local_commit" --to "$remote_ref" >&2 </dev/null
  # 2 means that it could not be checked, such as without the evidence; the server judges anyhow.
  [ $? -eq 1 ] && exit 1
done
exit 0
`;

/** @returns the file. @throws CliError `HookExists` when somebody else's hook is there */
export async function installHook(clone: CloneParts, repository: Repository): Promise<string> {
  const named = await repository.git.run(['rev-parse', '--git-path', 'hooks/pre-push']);
  const file = named.startsWith('/') ? named : `${repository.folder}/${named}`;
  const there = await clone.readText(file);
  if (there !== null && !there.includes(MARK)) throw new CliError('HookExists', `${file} is there already.`, 'Call `stella check "$local_commit" --to "$remote_ref"` from it, or move it away.');
  await clone.writeProgram(file, SCRIPT);
  return file;
}
