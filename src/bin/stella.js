#!/usr/bin/env node
// The launcher: finds a Node that can run TypeScript as it is, answers `--version` without loading the program, and hands over
// to main.ts. It must parse on old Node versions, so it is plain JavaScript without top-level await.
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const NEEDED_MAJOR = 24;
const EXIT_ERROR = 2;

const self = realpathSync(fileURLToPath(import.meta.url));
const args = process.argv.slice(2);

quietWhenReaderLeaves(process.stdout);
quietWhenReaderLeaves(process.stderr);

if (args.length === 1 && (args[0] === '--version' || args[0] === '-V')) {
  const manifest = JSON.parse(readFileSync(join(dirname(self), '..', '..', 'package.json'), 'utf8'));
  process.stdout.write(`${manifest.version}\n`);
} else if (Number.parseInt(process.versions.node, 10) < NEEDED_MAJOR) {
  runOnNewerNode();
} else {
  runHere();
}

/** `stella … | head` closes our output early: that is no error of ours. */
function quietWhenReaderLeaves(stream) {
  stream.on('error', (error) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(process.exitCode ?? 0);
  });
}

/** Loads the program; its exit code is ours. Anything that it did not catch itself is an error of the program. */
function runHere() {
  import('node:module')
    .then((module) => {
      module.enableCompileCache();
      return import('./main.ts');
    })
    .then(({ main }) => main(args, process.env, { stdin: process.stdin, stdout: process.stdout, stderr: process.stderr }))
    .then(leave, (error) => {
      const text = error instanceof Error ? (process.env.STELLA_DEBUG ? error.stack : error.message) : String(error);
      process.stderr.write(`stella: ${text}\n`);
      leave(EXIT_ERROR);
    });
}

/** Ends once both streams have taken what was written: a pipe may be slower than we are. */
function leave(code) {
  process.exitCode = code;
  process.stdout.write('', () => process.stderr.write('', () => process.exit()));
}

/** Starts this file again on the Node of the npm package `node`, looked for upwards from here as npm would. */
function runOnNewerNode() {
  const newer = newerNode();
  if (newer === undefined) {
    process.stderr.write(
      `stella: needs Node ${NEEDED_MAJOR} or newer, this is ${process.versions.node}, and no node_modules/node was found above ${dirname(self)}.\n` +
        `Run \`npm ci\` in the checkout (it brings its own Node), or install Node ${NEEDED_MAJOR}.\n`,
    );
    process.exitCode = EXIT_ERROR;
    return;
  }
  import('node:child_process').then(({ spawn }) => {
    // Listening first: a signal that comes while the child starts waits for it instead of ending us alone.
    passSignals(() => child);
    const child = spawn(newer, [...process.execArgv, self, ...args], { stdio: 'inherit' });
    child.on('error', (error) => {
      process.stderr.write(`stella: ${newer} could not be started: ${error.message}. Run \`npm ci\` again.\n`);
      process.exitCode = EXIT_ERROR;
    });
    child.on('exit', (code, signal) => {
      if (signal === null) process.exit(code ?? EXIT_ERROR);
      for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.removeAllListeners(name);
      process.kill(process.pid, signal);
    });
  });
}

/** A terminal sends Ctrl-C to both of us already; everything else reaches only this process. */
function passSignals(child) {
  process.on('SIGINT', () => {
    if (!process.stdin.isTTY) child().kill('SIGINT');
  });
  for (const name of ['SIGTERM', 'SIGHUP']) process.on(name, () => child().kill(name));
}

function newerNode() {
  for (let at = dirname(self); ; at = dirname(at)) {
    for (const name of ['node', 'node.exe']) {
      const candidate = join(at, 'node_modules', 'node', 'bin', name);
      if (existsSync(candidate)) return candidate;
    }
    if (at === dirname(at)) return undefined;
  }
}
