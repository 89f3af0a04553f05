import { chmod, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { CliError } from '../command.ts';

/** Longest question and answer, in bytes. */
const MESSAGE_BYTES = 16 * 1024;
const ANSWER_MS = 10_000;
/** Operating systems cut longer ones. */
const PATH_CHARS = 100;

type Answer = { readonly ok: true; readonly token: string } | { readonly ok: false; readonly message: string };

const pathOf = (dataFolder: string): string => join(dataFolder, 'control.sock');

/**
 * Lets `stella agent token` on the same machine ask the server that runs for a token: an embedded database belongs to that server alone.
 * Whoever may enter the data folder could read its database as well; nobody else reaches the socket.
 * @returns null when the path of the data folder is too long for a socket
 */
export async function openControlSocket(dataFolder: string, issueToken: (agent: string) => Promise<string>): Promise<{ close(): Promise<void> } | null> {
  const path = pathOf(dataFolder);
  if (path.length > PATH_CHARS) return null;
  await rm(path, { force: true });
  const server = createServer((socket) => void serve(socket, issueToken));
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve));
  await chmod(path, 0o600);
  return { close: () => closed(server) };
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

async function serve(socket: Socket, issueToken: (agent: string) => Promise<string>): Promise<void> {
  socket.on('error', () => undefined);
  socket.setTimeout(ANSWER_MS, () => socket.destroy());
  const question = await readLine(socket).catch(() => null);
  if (question === null) return void socket.destroy();
  const agent = parse<{ readonly issueToken?: unknown }>(question)?.issueToken;
  let answer: Answer;
  try {
    answer = typeof agent === 'string' ? { ok: true, token: await issueToken(agent) } : { ok: false, message: 'the question cannot be understood' };
  } catch (cause) {
    answer = { ok: false, message: cause instanceof Error ? cause.message : String(cause) };
  }
  socket.end(`${JSON.stringify(answer)}\n`);
}

/**
 * Asks the server that runs on this data folder for a token.
 * @returns null when none runs. @throws CliError with what the server says
 */
export async function askForToken(dataFolder: string, agent: string): Promise<string | null> {
  const socket = await open(pathOf(dataFolder));
  if (socket === null) return null;
  socket.setTimeout(ANSWER_MS, () => socket.destroy(new Error('no answer')));
  socket.write(`${JSON.stringify({ issueToken: agent })}\n`);
  const answer = parse<Answer>(await readLine(socket));
  socket.destroy();
  if (answer === null || !answer.ok) throw new CliError('TokenRefused', answer?.message ?? 'the server gave no answer that can be understood');
  return answer.token;
}

function open(path: string): Promise<Socket | null> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(socket));
    socket.on('error', () => resolve(null));
  });
}

function readLine(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      text += chunk;
      const end = text.indexOf('\n');
      if (end >= 0) resolve(text.slice(0, end));
      else if (text.length > MESSAGE_BYTES) reject(new Error('too long'));
    });
    socket.once('close', () => reject(new Error('closed')));
  });
}

function parse<T>(text: string): T | null {
  try {
    return JSON.parse(text) as T;
  } catch {
    return null;
  }
}
