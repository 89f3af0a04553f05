import { type Forge, FORGE_TYPES, ForgeError, type ForgeManifest, type ForgeSettings, type ForgeType, type ForgeWorld, type WebhookReader } from '../../ports/forge.ts';

const FORGE_VERSION = 1;

/** One line for each kind of forge; what is not used is not loaded. */
const manifests: Readonly<Record<ForgeType, () => Promise<{ readonly manifest: ForgeManifest }>>> = {
  github: () => import('./github/manifest.ts'),
  gitlab: () => import('./gitlab/manifest.ts'),
  gitea: () => import('./gitea/manifest.ts'),
  bitbucket: () => import('./bitbucket/manifest.ts'),
};

export function isForgeType(text: string): text is ForgeType {
  return FORGE_TYPES.some((type) => type === text);
}

/** @throws ForgeError `Refused` or `OfflineRefused` where the settings cannot be right; nothing is asked yet */
export async function openForge(type: ForgeType, settings: ForgeSettings, world: ForgeWorld): Promise<Forge> {
  return (await manifestOf(type)).open(settings, world);
}

/** @throws ForgeError `Refused` */
export async function webhookReaderOf(type: ForgeType): Promise<WebhookReader> {
  return (await manifestOf(type)).webhook;
}

async function manifestOf(type: ForgeType): Promise<ForgeManifest> {
  const { manifest } = await manifests[type]();
  if (manifest.version !== FORGE_VERSION || manifest.type !== type) throw new ForgeError('Refused', `the adapter for ${type} speaks another version of this program's interface`);
  return manifest;
}
