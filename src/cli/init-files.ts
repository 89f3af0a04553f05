import type { GenesisRules } from '../core/trust/genesis.ts';

export type Person = { readonly name: string; readonly publicKey: string };
export type InitPlan = {
  /** The first is who runs `init`. */
  readonly people: readonly Person[];
  readonly alone: boolean;
  /** Absolute folder below which the example targets lie. */
  readonly targetsFolder: string;
  /** SPKI PEM of the example agent. */
  readonly agentKey: string;
  readonly services: GenesisRules['services'];
};

const ENVIRONMENTS = [['dev', 'Every change comes here first; nobody needs to approve'], ['staging', 'Takes what runs in dev'], ['prod', 'Takes what runs in staging, once it is approved']] as const;

/** The rules of the root for one person or a team. */
export function rulesFor(plan: InitPlan): GenesisRules {
  const byMaintainer = { people: 1, roles: [{ role: 'maintainer', count: 1 }] };
  return {
    tenant: 'default', keys: plan.people.map(({ name, publicKey }) => ({ principal: name, key: publicKey })), threshold: plan.alone ? 1 : Math.min(2, plan.people.length),
    services: plan.services, quorums: { default: byMaintainer, create: byMaintainer }, proposerCounts: plan.alone,
    ...(plan.alone ? {} : { minimums: { environments: [{ name: 'prod', people: 1 }] } }),
  };
}

/** What stands above the root. */
export function rootComment(plan: InitPlan): string {
  const separation = plan.alone
    ? 'SEPARATION OF DUTIES IS OFF: one person works here alone. proposerCounts lets who proposes a protected change approve it,\nand environments/prod.yaml lets who asks approve. When a second person joins, turn both round.'
    : 'Who proposes a protected change does not count towards its quorum (proposerCounts), and no document below can let who asks\nfor a promotion to prod approve it (minimums).';
  return `The genesis root of this log. Servers, agents and auditors pin its digest; this file alone is trusted by nobody.\n${separation}`;
}

/** Every file of the first commit but the root. */
export function initFiles(plan: InitPlan): Readonly<Record<string, string>> {
  const people = Object.fromEntries(plan.people.map((p) => [`principals/${p.name}.yaml`, principal(p)]));
  const places = Object.fromEntries(ENVIRONMENTS.flatMap(([name, description], i) => [
    [`environments/${name}.yaml`, environment(name, description, i, plan)], [`targets/${name}-1.yaml`, target(name, plan.targetsFolder)],
  ]));
  return { 'README.md': readme(plan), ...people, ...places, ...application(plan) };
}

const head = (kind: string, name: string, description?: string): string =>
  `apiVersion: stella/v1alpha1\nkind: ${kind}\nmetadata:\n  name: ${name}\n${description === undefined ? '' : `  description: ${description}\n`}spec:\n`;

function principal({ name, publicKey }: Person): string {
  return `# A person is who holds these keys; names and addresses in commits decide nothing.
${head('Principal', name)}  type: person
  keys:
    - key: ${yamlText(publicKey)}
      status: active
  roles:
    # maintainer changes protected documents, approver approves promotions, stop stops with one signature (stella stop).
    # A role may be bound to environments and applications.
    - role: maintainer
    - role: approver
    - role: stop
`;
}

/** The comment behind a key may hold anything. */
function yamlText(line: string): string {
  return /^[A-Za-z0-9@.+/= _-]+$/.test(line) ? line : JSON.stringify(line);
}

function environment(name: string, description: string, index: number, plan: InitPlan): string {
  const source = index === 0 ? '' : `  from:\n    - environment: ${ENVIRONMENTS[index - 1]?.[0] ?? ''}\n`;
  return `${head('Environment', name, description)}  order: ${index + 1}\n${source}${name === 'prod' ? approvals(plan.alone) : ''}  workflow: rolling\n`;
}

function approvals(alone: boolean): string {
  const off = alone ? '    # Separation of duties is off: whoever asks may approve too. Remove this line when a second person joins.\n    authorNeverApproves: false\n' : '';
  return `  approvals:\n    people: 1\n    roles:\n      - role: approver\n        count: 1\n${off}`;
}

function target(name: string, folder: string): string {
  return `${head('Target', `${name}-1`)}  type: directory_host
  agent: host-1
  # Who may use it. Nothing else can be deployed here.
  environments: [${name}]
  applications: [hello]
  connection:
    # The folder that the agent owns on its machine.
    root: ${JSON.stringify(`${folder}/${name}`)}
`;
}

function application(plan: InitPlan): Readonly<Record<string, string>> {
  return {
    'apps/hello/app.yaml': `# Rename it to your own. Files that are shipped with it are listed under deployment.files.\n${head('Application', 'hello')}  components: [web]\n  deployment:\n    type: directory\n`,
    'components/web.yaml': `${head('Component', 'web')}  repository: hello/web\n  registry: images\n`,
    'integrations/images.yaml': `# A folder in the OCI image layout, so that no registry is needed to begin with; each machine says where it is.\n# For a registry write \`host: registry.example\` in the place of \`layout\`.\n${head('Integration', 'images')}  type: registry\n  layout: images\n`,
    'workflows/rolling.yaml': `${head('Workflow', 'rolling', 'Deploy; on a failure go back to what ran before')}  steps:\n    - name: deploy\n      type: deploy\n      timeoutSeconds: 300\n  onFailure: fall-back\n`,
    'agents/host-1.yaml': `# The agent on the machine of the targets. Its private key lies in the state folder of the agent.\n${head('Agent', 'host-1')}  identityKey: |\n${indented(plan.agentKey)}  owner: ${plan.people[0]?.name ?? ''}\n  capabilities: [directory_host]\n`,
  };
}

function indented(pem: string): string {
  return `${pem.trim().split('\n').map((line) => `    ${line}`).join('\n')}\n`;
}

function readme(plan: InitPlan): string {
  const who = plan.alone ? 'One person works here alone, so **separation of duties is off**: see `trust/root.yaml` and `environments/prod.yaml`.' : `The team: ${plan.people.map((p) => p.name).join(', ')}. Who asks for a promotion to prod does not approve it.`;
  return `# Declarations

What should run where, and who decides. \`stella lint\` checks it, \`stella explain prod\` says what waits and why.

${who}

| folder | what it says |
|---|---|
| \`trust/\` | the genesis root: quorums, our own keys |
| \`principals/\` | people and their keys |
| \`environments/\`, \`targets/\`, \`agents/\` | where things run |
| \`apps/\`, \`components/\`, \`integrations/\`, \`workflows/\` | what runs, and how it gets there |
| \`releases/\`, \`promotions/\` | made by \`stella release create\` and \`stella promote\` |
`;
}

/** The configuration of the server that goes with the repository. */
export function serverConfiguration(p: { readonly repository: string; readonly pin: string; readonly imagesFolder: string; readonly dataFolder: string }): string {
  return `# Configuration of \`stella serve --config <this file>\`. Relative paths are taken from the folder of this file.
# Every setting may come from the environment instead: repository.url is STELLA_REPOSITORY__URL.

repository:
  # A path, or the ssh or https URL of your Git server. For https set tokenRef: env:NAME or file:/path.
  url: ${JSON.stringify(p.repository)}
  branch: main

# The log that this server keeps and trusts. It stands here and not in the repository: that is what makes it a pin.
genesis: ${p.pin}

# The database and the copy of the repository. Both can be lost: Git holds everything. Not beside the keys: a database of our own runs
# under an account that may not look into their folder.
dataFolder: ${JSON.stringify(p.dataFolder)}

# Three keys for three purposes. Whoever has them can write evidence, and still cannot approve anything.
keys:
  decisions: ./decisions.pem
  evidenceCommits: ./evidence-commits
  agentCa: ./agent-ca.pem

# Where the image layouts of Integrations lie on this machine.
layouts:
  images: ${JSON.stringify(p.imagesFolder)}

# Seconds between looks at the repository; a webhook makes it look at once.
pollSeconds: 5
tagPollSeconds: 60

storage:
  # filesystem: a Postgres of our own below dataFolder. postgres: yours, named by CONNECTIONSTRINGS__DEFAULT.
  driver: filesystem
  objectStore: seed-fs
`;
}
