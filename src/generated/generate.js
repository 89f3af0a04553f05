// Writes src/generated/proto from proto/. Offline: the compiler and the plugin both come from node_modules.
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const top = fileURLToPath(new URL('../../', import.meta.url));
const buf = createRequire(import.meta.url).resolve('@bufbuild/buf/bin/buf');
const run = (...args) => execFileSync(process.execPath, [buf, ...args], { cwd: top, stdio: 'inherit' });

run('lint', 'proto');
run('generate', 'proto', '--template', 'proto/buf.gen.yaml');
