import type { Readable, Writable } from 'node:stream';

/** Which form a result is printed in. */
export type OutputForm = 'table' | 'text' | 'markdown' | 'json' | 'yaml';

export type Streams = {
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: Writable & { readonly isTTY?: boolean };
  readonly stderr: Writable & { readonly isTTY?: boolean };
};

export type Paint = 'bold' | 'dim' | 'red' | 'green' | 'yellow';

/** What a command says and asks. Results go to stdout; progress, notes and questions to stderr. */
export interface Terminal {
  readonly streams: Streams;
  readonly form: OutputForm;
  /** Whether a person can be asked. */
  readonly isInteractive: boolean;
  line(text?: string): void;
  note(text: string): void;
  paint(paint: Paint, text: string): string;
  /** Prints `value` as JSON or YAML, or what `table` returns: in another form, where the command has one. */
  result(value: unknown, table: () => string): Promise<void>;
  /** The answer without blanks around it; empty when the input has ended. */
  ask(question: string): Promise<string>;
  /** Says `text` on stderr if `work` takes longer than a second. */
  during<T>(text: string, work: Promise<T>): Promise<T>;
}

const CODES: Readonly<Record<Paint, string>> = { bold: '1', dim: '2', red: '31', green: '32', yellow: '33' };
const PROGRESS_AFTER_MS = 1000;

/**
 * The terminal of one command.
 * @param options.colours only on a terminal, and not with NO_COLOR
 */
export function createTerminal(streams: Streams, options: { readonly form: OutputForm; readonly colours: boolean }): Terminal {
  return {
    streams,
    form: options.form,
    isInteractive: streams.stdin.isTTY === true && streams.stderr.isTTY === true,
    line: (text = '') => void streams.stdout.write(`${text}\n`),
    note: (text) => void streams.stderr.write(`${text}\n`),
    paint: (paint, text) => (options.colours ? `\u001b[${CODES[paint]}m${text}\u001b[0m` : text),
    result: (value, table) => printResult(streams.stdout, options.form, value, table),
    ask: asker(streams),
    during: (text, work) => withProgress(streams.stderr, text, work),
  };
}

async function printResult(stdout: Writable, form: OutputForm, value: unknown, table: () => string): Promise<void> {
  if (form !== 'json' && form !== 'yaml') {
    const text = table();
    stdout.write(text.endsWith('\n') || text === '' ? text : `${text}\n`);
  } else if (form === 'json') {
    stdout.write(`${JSON.stringify(value, null, 2)}\n`);
  } else {
    const { stringify } = await import('yaml');
    stdout.write(stringify(JSON.parse(JSON.stringify(value)), { lineWidth: 0, aliasDuplicateObjects: false }));
  }
}

/** Asks one question after the other; lines that came together are answers to the questions that follow. */
function asker(streams: Streams): Terminal['ask'] {
  const lines: string[] = [];
  return async (question) => {
    streams.stderr.write(question);
    if (lines.length === 0 && !streams.stdin.readableEnded) lines.push(...(await nextLines(streams)));
    return (lines.shift() ?? '').trim();
  };
}

/** The next line and what came with it; none when the input has ended. */
async function nextLines({ stdin, stderr }: Streams): Promise<readonly string[]> {
  const { createInterface } = await import('node:readline');
  const reader = createInterface({ input: stdin, output: stderr, terminal: false });
  const lines: string[] = [];
  await new Promise<void>((resolve) => {
    reader.on('line', (line) => {
      lines.push(line);
      resolve();
    });
    reader.once('close', resolve);
  });
  reader.close();
  return lines;
}

async function withProgress<T>(stderr: Writable, text: string, work: Promise<T>): Promise<T> {
  const timer = setTimeout(() => stderr.write(`${text} …\n`), PROGRESS_AFTER_MS);
  try {
    return await work;
  } finally {
    clearTimeout(timer);
  }
}

/** Rows as columns, two blanks apart; the first row is the heading. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => (row[i] ?? '').length)));
  return rows.map((row) => row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0))).join('  ').trimEnd()).join('\n');
}
