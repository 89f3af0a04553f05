import type { ForgeManifest } from '../../../ports/forge.ts';
import { openGitlab } from './gitlab-forge.ts';
import { gitlabWebhook } from './webhook.ts';

export const manifest: ForgeManifest = { kind: 'forge', version: 1, type: 'gitlab', open: openGitlab, webhook: gitlabWebhook };
