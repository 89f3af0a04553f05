import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { medianOfPaired } from './figure.ts';

const LAUNCHER = fileURLToPath(new URL('../../src/bin/stella.js', import.meta.url));

/** `stella --version` against a bare node that does nothing, on the same Node. */
export async function cliStartVsNode(): Promise<number> {
  const start = (...args: readonly string[]): void => {
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`node ${args.join(' ')} ended with ${status}: ${stderr}`);
  };
  const { ratio } = await medianOfPaired(30, () => start(LAUNCHER, '--version'), () => start('-e', '0'));
  return ratio;
}
