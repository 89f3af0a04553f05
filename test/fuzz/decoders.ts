import type { Decoder } from './decoder.ts';
import { approvalDocument } from './documents.ts';
import { bundle, canonicalJson, envelope, receipt } from './evidence.ts';
import { expression } from './expressions.ts';
import { openPgpCertificate, openPgpSignature } from './openpgp.ts';
import { orderProof, rootChain } from './orders.ts';
import { commit, sshKey, sshSignature } from './signatures.ts';
import { identityToken } from './identity-tokens.ts';
import { forgeWebhook } from './webhooks.ts';

/** Everything that reads bytes from outside. */
export const decoders: readonly Decoder[] = [commit, sshKey, sshSignature, openPgpSignature, openPgpCertificate, approvalDocument, canonicalJson, envelope, receipt, bundle, orderProof, rootChain, forgeWebhook, expression, identityToken];
