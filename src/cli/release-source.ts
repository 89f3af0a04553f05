import type { ReleaseSpec } from '../core/model/documents.ts';
import { CliError, flagOption, textOption, type CommandContext, type OptionTable } from './command.ts';

export const SOURCE_OPTIONS = {
  'source-commit': { type: 'string', value: 'ID', description: 'Commit that it was built from (spec.source.commit)' },
  'source-repository': { type: 'string', value: 'URL', description: 'Repository of that commit' },
  'source-branch': { type: 'string', value: 'NAME', description: 'Branch of that commit' },
  build: { type: 'string', value: 'URL', description: 'Address or number of the build' },
  ci: { type: 'boolean', description: 'Take what is not given of these from the variables of the pipeline' },
  commit: { type: 'string', value: 'ID', description: 'The same as --source-commit' },
} as const satisfies OptionTable;

type Source = NonNullable<ReleaseSpec['source']>;
type Variables = CommandContext['environment'];

/** Which pipeline set which variables. Descriptions for people: nothing is judged by them. */
const PIPELINES: readonly { readonly is: (v: Variables) => boolean; readonly source: (v: Variables) => Partial<Record<keyof Source, string | undefined>> }[] = [
  {
    // GitHub, and Gitea or Forgejo, whose runners set the same.
    is: (v) => v['GITHUB_ACTIONS'] === 'true' || v['GITEA_ACTIONS'] === 'true' || v['FORGEJO_ACTIONS'] === 'true',
    source: (v) => {
      const repository = joined(v['GITHUB_SERVER_URL'], v['GITHUB_REPOSITORY']);
      return { repository, commit: v['GITHUB_SHA'], branch: v['GITHUB_REF_TYPE'] === 'branch' ? v['GITHUB_REF_NAME'] : undefined, build: joined(repository, 'actions/runs', v['GITHUB_RUN_ID']) };
    },
  },
  { is: (v) => v['GITLAB_CI'] === 'true', source: (v) => ({ repository: v['CI_PROJECT_URL'], commit: v['CI_COMMIT_SHA'], branch: v['CI_COMMIT_BRANCH'], build: v['CI_PIPELINE_URL'] }) },
  {
    is: (v) => v['BITBUCKET_BUILD_NUMBER'] !== undefined,
    source: (v) => ({ repository: v['BITBUCKET_GIT_HTTP_ORIGIN'], commit: v['BITBUCKET_COMMIT'], branch: v['BITBUCKET_BRANCH'], build: joined(v['BITBUCKET_GIT_HTTP_ORIGIN'], 'pipelines/results', v['BITBUCKET_BUILD_NUMBER']) }),
  },
  { is: (v) => v['JENKINS_URL'] !== undefined, source: (v) => ({ repository: v['GIT_URL'], commit: v['GIT_COMMIT'], branch: v['GIT_BRANCH'], build: v['BUILD_URL'] }) },
];

function joined(...parts: readonly (string | undefined)[]): string | undefined {
  return parts.some((part) => part === undefined || part === '') ? undefined : parts.join('/');
}

/**
 * What a release says that it was built from: options, then, with --ci, the variables of the pipeline that this runs in. No credential gets in: an
 * address with one is left out.
 * @throws CliError `PipelineUnknown` for --ci where no pipeline is known
 */
export function sourceIn({ values, environment }: CommandContext): Source {
  const pipeline = flagOption(values, 'ci') ? PIPELINES.find(({ is }) => is(environment)) : null;
  if (pipeline === undefined) throw new CliError('PipelineUnknown', 'No variables of a pipeline are set here.', 'Say it with --source-commit, --source-repository and --build. --ci knows GitHub, GitLab, Gitea, Forgejo, Bitbucket and Jenkins.');
  const found = pipeline?.source(environment) ?? {};
  const given = { repository: textOption(values, 'source-repository'), commit: textOption(values, 'source-commit') ?? textOption(values, 'commit'), branch: textOption(values, 'source-branch'), build: textOption(values, 'build') };
  const clean = (text: string | undefined): string | undefined => (text === undefined || text === '' || hasCredential(text) ? undefined : text);
  const [repository, commit, branch, build] = [given.repository ?? clean(found.repository), given.commit ?? clean(found.commit), given.branch ?? clean(found.branch), given.build ?? clean(found.build)];
  return { ...(repository === undefined ? {} : { repository }), ...(commit === undefined ? {} : { commit }), ...(branch === undefined ? {} : { branch }), ...(build === undefined ? {} : { build }) };
}

function hasCredential(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && (url.username !== '' || url.password !== '') && url.protocol.startsWith('http');
}
