/** What a document may want to ask for that has no effect yet: it is refused by name, so that nobody believes it holds (T12). */
type Unsupported = { readonly what: string; readonly remedy: string };

const CHECKPOINTS: Unsupported = {
  what: 'that orders must come with a checkpoint of the log, co-signed by a witness',
  remedy: 'Take it out. Until it is supported agents cannot tell that a later stop was withheld from them: demand approvals, which they do prove.',
};
const LOG_SIZE: Unsupported = {
  what: 'that records after a size of the log are void',
  remedy: 'Take it out. To end a key of the server, replace the trust root by one that lists another key; reassess what the old key signed.',
};

const FIELDS: ReadonlyMap<string, Unsupported> = new Map([
  ...['maxStale', 'witness', 'witnesses', 'checkpoint', 'checkpoints'].map((name) => [name, CHECKPOINTS] as const),
  ...['compromised', 'compromisedAt', 'lastGood', 'logSize', 'lastGoodCheckpoint'].map((name) => [name, LOG_SIZE] as const),
]);
const SERVICE_ROLES: ReadonlyMap<string, Unsupported> = new Map(['checkpoints', 'witness', 'witnesses'].map((name) => [name, CHECKPOINTS] as const));

/** @param field a field that no schema knows */
export function unsupportedField(field: string): Unsupported | null {
  return FIELDS.get(field) ?? null;
}

/** @param value of the role of a service in the trust root */
export function unsupportedServiceRole(value: unknown): Unsupported | null {
  return typeof value === 'string' ? (SERVICE_ROLES.get(value) ?? null) : null;
}
