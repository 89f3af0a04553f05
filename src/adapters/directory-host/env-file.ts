import { DirectoryError } from './directory-error.ts';

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * `NAME="value"` lines, sorted by name. Inside the quotes `\`, `"`, `$` and the backtick have a backslash before them and a newline
 * is itself: what `. ./app.env` reads in a POSIX shell, and systemd's EnvironmentFile, is exactly the value.
 * @throws DirectoryError `InvalidOrder` for a name that is none or a value with a NUL; the value is not in the message
 */
export function formatEnvFile(env: Readonly<Record<string, string>>): string {
  const lines = Object.entries(env).map(([name, value]) => {
    if (!NAME.test(name)) throw new DirectoryError('InvalidOrder', `${JSON.stringify(name.slice(0, 100))} is no name for a variable`);
    if (value.includes('\0') || !value.isWellFormed()) throw new DirectoryError('InvalidOrder', `the value of ${name} is no text that a process can be given`);
    return `${name}="${value.replace(/[\\"$`]/g, '\\$&')}"\n`;
  });
  return lines.sort().join('');
}

/** The values of a file that {@link formatEnvFile} wrote; undefined when it was not. */
export function parseEnvFile(text: string): Readonly<Record<string, string>> | undefined {
  const env: Record<string, string> = Object.create(null) as Record<string, string>;
  const line = /([A-Za-z_][A-Za-z0-9_]*)="((?:[^\\"$`]|\\[\\"$`])*)"\n/y;
  while (line.lastIndex < text.length) {
    const found = line.exec(text);
    if (found?.[1] === undefined || found[2] === undefined) return undefined;
    env[found[1]] = found[2].replace(/\\(.)/g, '$1');
  }
  return env;
}

/** Replaces every value in `text` by `***`. Of a value with several lines each line counts, because output comes line by line. */
export function createRedactor(values: readonly string[]): (text: string) => string {
  const pieces = values.flatMap((value) => value.split(/\r?\n|\r/)).filter((piece) => piece.trim() !== '');
  const longestFirst = [...new Set(pieces)].sort((a, b) => b.length - a.length);
  return (text) => longestFirst.reduce((shown, piece) => shown.replaceAll(piece, '***'), text);
}
