import type { ForgeManifest } from '../../../ports/forge.ts';
import { openGitea } from './gitea.ts';
import { giteaWebhook } from './webhook.ts';

export const manifest: ForgeManifest = { kind: 'forge', version: 1, type: 'gitea', open: openGitea, webhook: giteaWebhook };
