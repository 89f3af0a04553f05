import type { ForgeManifest } from '../../../ports/forge.ts';
import { openGitHub } from './github.ts';
import { githubWebhook } from './webhook.ts';

export const manifest: ForgeManifest = { kind: 'forge', version: 1, type: 'github', open: openGitHub, webhook: githubWebhook };
