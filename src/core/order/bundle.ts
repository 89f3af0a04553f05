import { decodeBase64, encodeBase64 } from '../model/base64.ts';
import { canonicalBytes, parseCanonicalJson } from '../model/canonical-json.ts';
import { digestOfBytes, hexOf, type Digest } from '../model/digest.ts';
import type { Order, OrderOperation } from '../model/preimages.ts';

/** What goes to an agent with an order: everything that proves it, nothing that has to be believed (TRUST "What an agent proves"). */
export type OrderBundle = {
  readonly order: Order;
  /** The allow's envelope file. */
  readonly decision: Uint8Array;
  /** Envelope files of every protected change, from genesis on. */
  readonly changes: readonly Uint8Array[];
  /** Approval documents with their signatures, canonical JSON. */
  readonly approvals: readonly Uint8Array[];
  /** Everything else by digest: root, documents, raw commits, promotion, plan, lock, rendered artifacts, shipped files. */
  readonly artifacts: ReadonlyMap<Digest, Uint8Array>;
};

/** Canonical JSON of a bundle, bytes as base64. */
export function encodeBundle(b: OrderBundle): Uint8Array {
  return canonicalBytes({
    type: 'stella/bundle/v1', order: b.order, decision: encodeBase64(b.decision), changes: b.changes.map(encodeBase64), approvals: b.approvals.map(encodeBase64),
    artifacts: Object.fromEntries([...b.artifacts].map(([digest, bytes]) => [hexOf(digest), encodeBase64(bytes)])),
  });
}

/** Reads a bundle; artifacts are kept under the digest that we computed ourselves. @returns null for anything malformed */
export function decodeBundle(bytes: Uint8Array): OrderBundle | null {
  const value = parseCanonicalJson(bytes) as { type?: unknown; order?: unknown; decision?: unknown; changes?: unknown; approvals?: unknown; artifacts?: unknown } | undefined;
  if (value?.type !== 'stella/bundle/v1') return null;
  const order = readOrder(value.order);
  const decision = decode(value.decision);
  const changes = decodeAll(value.changes);
  const approvals = decodeAll(value.approvals);
  if (order === null || decision === null || changes === null || approvals === null) return null;
  if (typeof value.artifacts !== 'object' || value.artifacts === null) return null;
  const found = decodeAll(Object.values(value.artifacts));
  if (found === null) return null;
  return { order, decision, changes, approvals, artifacts: new Map(found.map((artifact) => [digestOfBytes(artifact), artifact])) };
}

function decode(value: unknown): Uint8Array | null {
  return typeof value === 'string' ? decodeBase64(value) : null;
}

function decodeAll(value: unknown): Uint8Array[] | null {
  if (!Array.isArray(value)) return null;
  const bytes = value.map(decode);
  return bytes.every((b): b is Uint8Array => b !== null) ? bytes : null;
}

const OPERATIONS: readonly OrderOperation[] = ['promote', 'extend', 'remove', 'fall-back', 'health-check'];

function readOrder(value: unknown): Order | null {
  const o = value as Partial<Order> | null;
  const known = o !== null && typeof o === 'object' && o.type === 'stella/order/v1' && typeof o.decision === 'string' && typeof o.target === 'string';
  const operation = o?.operation;
  if (!known || operation === undefined || !OPERATIONS.includes(operation)) return null;
  return Number.isSafeInteger(o?.try) && (o?.try ?? 0) >= 1 ? (value as Order) : null;
}
