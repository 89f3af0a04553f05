import type { ForgeManifest } from '../../../ports/forge.ts';
import { openBitbucket } from './bitbucket-forge.ts';
import { bitbucketWebhook } from './webhook.ts';

export const manifest: ForgeManifest = { kind: 'forge', version: 1, type: 'bitbucket', open: openBitbucket, webhook: bitbucketWebhook };
