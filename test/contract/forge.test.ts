import { forgeContract } from './forge-suite.ts';
import { bitbucketDialect } from '../fakes/forge-bitbucket.ts';
import { giteaDialect } from '../fakes/forge-gitea.ts';
import { githubDialect } from '../fakes/forge-github.ts';
import { gitlabDialect } from '../fakes/forge-gitlab.ts';

const SAME = { pending: 'pending', success: 'success', failure: 'failure', error: 'error' } as const;

forgeContract({
  type: 'github', dialect: githubDialect, states: SAME,
  queue: new Map([[`refs/heads/gh-readonly-queue/main/pr-12-${'0'.repeat(39)}1`, 'c'.repeat(40)]]),
});

forgeContract({ type: 'gitea', dialect: giteaDialect, states: SAME, queue: null });

/** Both know one kind of failure only. */
const TWO = { ...SAME, error: 'failure' } as const;

forgeContract({ type: 'gitlab', dialect: gitlabDialect, states: TWO, queue: new Map([['refs/merge-requests/12/train', 'c'.repeat(40)]]) });

forgeContract({ type: 'bitbucket', dialect: bitbucketDialect, states: TWO, queue: null });
