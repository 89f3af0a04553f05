import type { Json, JsonObject } from '../model/canonical-json.ts';
import { digestOfBytes, type Digest } from '../model/digest.ts';
import type { BreakGlass, DocumentOf, StepSpec, TargetSpec, WorkflowSpec } from '../model/documents.ts';
import { limits } from '../model/limits.ts';
import { compareText } from '../model/names.ts';
import { preimageDigest, type FileRef, type Lock, type Operation, type Plan, type PlanTarget, type Runs } from '../model/preimages.ts';
import { allInForce, inForceOf, type LogState } from '../evidence/log-state.ts';
import { renderCompose } from './render-compose.ts';

export type PlanInput = {
  readonly state: LogState;
  readonly environment: string;
  readonly application: string;
  readonly operation: Operation;
  /** Of the Promotion; null where it asks for none. */
  readonly breakGlass?: BreakGlass | null;
  /** null for a removal. */
  readonly lock: Lock | null;
  readonly configuration: DocumentOf<'Configuration'> | null;
  /** The override file of the Configuration at the tip; null when it names none. */
  readonly override: (FileRef & { readonly bytes: Uint8Array }) | null;
  /** Bytes of a snapshot's file. */
  readonly file: (digest: Digest) => Uint8Array | undefined;
  /** Parses a Compose file; the YAML library stays outside the core. */
  readonly parseCompose: (bytes: Uint8Array) => { readonly ok: true; readonly value: Json } | { readonly ok: false; readonly message: string };
};
export type PlanResult =
  | { readonly ok: true; readonly plan: Plan; readonly planDigest: Digest; readonly runsDigest: Digest | null; readonly artifacts: readonly { readonly name: string; readonly digest: Digest; readonly bytes: Uint8Array }[] }
  | { readonly ok: false; readonly code: 'PlanInvalid'; readonly detail: string };

const invalid = (detail: string): PlanResult & { ok: false } => ({ ok: false, code: 'PlanInvalid', detail });
const DEFAULT_WORKFLOW: WorkflowSpec = { steps: [{ name: 'deploy', type: 'deploy' }] };
export const LOCK_FILE = 'compose.stella.lock.yml';

/** Everything that would run, from the lock, the configuration and the documents in force (TRUST "Plan"). */
export function makePlan(input: PlanInput): PlanResult {
  const application = inForceOf(input.state, 'Application', input.application);
  const environment = inForceOf(input.state, 'Environment', input.environment);
  if (application === null || environment === null) return invalid(`${application === null ? `application ${input.application}` : `environment ${input.environment}`} is not in force`);
  const workflow = workflowOf(input, application, environment);
  if (workflow === null) return invalid('the workflow that applies is not in force');
  const rendered = input.operation === 'remove' ? { ok: true as const, runs: null, artifacts: [] } : renderRuns(input);
  if (!rendered.ok) return rendered;
  const type = targetTypeOf(rendered.runs);
  const targets = targetsFor(input.state, { environment: input.environment, application, type });
  if (targets.length === 0) return invalid(`no target in force names environment ${input.environment} and application ${input.application} and fits its placement`);
  if (targets.length > limits.targetsPerPlan) return invalid(`${targets.length} targets are more than the limit of ${limits.targetsPerPlan}`);
  const { breakGlass = null } = input;
  const plan: Plan = { type: 'stella/plan/v1', operation: breakGlass === null ? input.operation : 'break-glass', breakGlass, runs: rendered.runs, workflow, targets };
  return {
    ok: true, plan, planDigest: preimageDigest(plan), runsDigest: rendered.runs === null ? null : preimageDigest(rendered.runs), artifacts: rendered.artifacts,
  };
}

/** The type of target that can take it; null for a removal. */
export function targetTypeOf(runs: Runs | null): TargetSpec['type'] | null {
  return runs === null ? null : runs.deployment['type'] === 'compose' ? 'compose_host' : 'directory_host';
}

/**
 * The targets of a plan, sorted by name: those in force that name environment and application (T17), fit the placement, and can
 * take this kind of deployment.
 * @param of.type null for a removal, which asks every target
 */
export function targetsFor(state: LogState, of: { readonly environment: string; readonly application: DocumentOf<'Application'>; readonly type: TargetSpec['type'] | null }): readonly PlanTarget[] {
  const { environment, application, type } = of;
  const wanted = Object.entries(application.spec.placement?.matchLabels ?? {});
  return allInForce(state, 'Target')
    .filter(({ spec }) => spec.environments.includes(environment) && spec.applications.includes(application.metadata.name))
    .filter(({ spec }) => (type === null || spec.type === type) && wanted.every(([label, value]) => spec.labels?.[label] === value))
    .map(({ metadata, spec }) => ({ name: metadata.name, type: spec.type, agent: spec.agent, connection: spec.connection as JsonObject }));
}

function workflowOf(input: PlanInput, application: DocumentOf<'Application'>, environment: DocumentOf<'Environment'>): Plan['workflow'] | null {
  const name = application.spec.workflow ?? environment.spec.workflow;
  const spec = name === undefined ? DEFAULT_WORKFLOW : inForceOf(input.state, 'Workflow', name)?.spec;
  if (spec === undefined) return null;
  const isRemoval = input.operation === 'remove';
  const kept = isRemoval ? spec.steps.filter((s) => s.type === 'deploy') : spec.steps;
  const names = new Set(kept.map((s) => s.name));
  const steps: StepSpec[] = kept.map((s) => ({ ...s, needs: (s.needs ?? []).filter((n) => names.has(n)) }));
  return { name: name ?? 'default', steps, onFailure: isRemoval ? 'hold' : (spec.onFailure ?? 'fall-back') };
}

type RunsResult = { readonly ok: true; readonly runs: Runs; readonly artifacts: { name: string; digest: Digest; bytes: Uint8Array }[] } | (PlanResult & { ok: false });

/** Depends on lock, Configuration and names only, never on target, time or state. */
function renderRuns(input: PlanInput): RunsResult {
  const { lock } = input;
  if (lock === null) return invalid('there is no lock to run');
  const { variables = {}, secrets = {}, override } = input.configuration?.spec ?? {};
  if (override !== undefined && input.override === null) return invalid(`the override file ${override} does not exist`);
  const clash = Object.keys(variables).find((name) => Object.hasOwn(secrets, name));
  if (clash !== undefined) return invalid(`${clash} is both a variable and a secret`);
  const { deployment } = lock.snapshot;
  const compose = deployment.type === 'compose' ? composeArtifact(input, lock, deployment.compose) : { ok: true as const, artifacts: [] };
  if (!compose.ok) return compose;
  const own = deployment.type === 'compose' ? deployment.compose : null;
  const files = lock.snapshot.files.filter((f) => f.path !== own);
  if (input.override !== null && deployment.type === 'directory') {
    const { path, digest, mode } = input.override;
    if (files.some((f) => f.path === path)) return invalid(`${path} is both a file of the application and an override`);
    files.push({ path, digest, mode });
  }
  const runs: Runs = {
    type: 'stella/runs/v1', environment: input.environment, application: input.application, release: lock.release, lock: preimageDigest(lock),
    deployment: deployment as unknown as JsonObject, components: lock.components,
    artifacts: compose.artifacts.map(({ name, digest }) => ({ path: name, digest, mode: 0o644 })),
    files: files.sort((a, b) => compareText(a.path, b.path)), variables, secrets: Object.fromEntries(Object.entries(secrets).map(([name, { ref }]) => [name, ref])),
  };
  return { ok: true, runs, artifacts: compose.artifacts };
}

type ComposeArtifact = { readonly ok: true; readonly artifacts: { name: string; digest: Digest; bytes: Uint8Array }[] } | (PlanResult & { ok: false });

function composeArtifact(input: PlanInput, lock: Lock, path: string): ComposeArtifact {
  const ref = lock.snapshot.files.find((f) => f.path === path);
  const bytes = ref === undefined ? undefined : input.file(ref.digest);
  if (bytes === undefined) return invalid(`the Compose file ${path} is not in the release's snapshot`);
  const base = input.parseCompose(bytes);
  if (!base.ok) return invalid(`${path}: ${base.message}`);
  const over = input.override === null ? null : input.parseCompose(input.override.bytes);
  if (over !== null && !over.ok) return invalid(`${input.override?.path ?? ''}: ${over.message}`);
  const spec = input.configuration?.spec;
  const rendered = renderCompose({
    path, base: base.value, override: over === null || input.override === null ? null : { path: input.override.path, value: over.value },
    components: lock.components, shipped: new Set(lock.snapshot.files.map((f) => f.path)),
    variables: spec?.variables ?? {}, secrets: new Set(Object.keys(spec?.secrets ?? {})),
    labels: {
      'stella.environment': input.environment, 'stella.application': input.application, 'stella.release': lock.release, 'stella.lock': preimageDigest(lock),
    },
  });
  if (!rendered.ok) return invalid(rendered.detail);
  const text = new TextEncoder().encode(rendered.text);
  return { ok: true, artifacts: [{ name: LOCK_FILE, digest: digestOfBytes(text), bytes: text }] };
}
