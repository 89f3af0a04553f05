import type { OutputForm, Terminal } from './terminal.ts';

/** 0: yes, or nothing changed. 1: no, or something changed or was refused. 2: it could not be done. */
export type ExitCode = 0 | 1 | 2;

export type OptionSpec = {
  readonly type: 'string' | 'boolean';
  readonly short?: string;
  readonly multiple?: boolean;
  /** What stands for the value in the help: `PATH`, `NAME=FILE`. */
  readonly value?: string;
  readonly description: string;
  /** Of `output`: the forms that the command knows, the usual one first. Absent: table, json, yaml. */
  readonly forms?: readonly OutputForm[];
};
export type OptionTable = { readonly [name: string]: OptionSpec };

export type OptionValues = { readonly [name: string]: string | boolean | readonly (string | boolean)[] | undefined };

/** All that a command gets from the outside; only `src/bin` knows where it comes from. */
export type CommandContext = {
  readonly values: OptionValues;
  readonly positionals: readonly string[];
  readonly terminal: Terminal;
  /** Absolute; `-C` is applied already. */
  readonly cwd: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly now: () => Date;
  readonly pid: number;
  readonly version: string;
  /** Aborts on the first SIGINT or SIGTERM; before it is called, signals end the process as usual. */
  readonly stopSignal: () => AbortSignal;
};

/**
 * One command; a file of `src/cli/commands` exports it as `command`.
 * `Parts` is what it needs of the adapters: `main.ts` names the file of `src/cli/compose` that exports these, and loads it when
 * the command asks for it, so that help costs nothing.
 */
export type Command<Parts = unknown> = {
  readonly name: string;
  /** One line without a full stop. */
  readonly summary: string;
  /** `stella approve <environment>/<application> [options]`, one line each. */
  readonly usage: readonly string[];
  /** Teaches: what it does, an example, what its exit codes mean. */
  readonly help: string;
  readonly options: OptionTable;
  run(context: CommandContext, parts: () => Promise<Parts>): Promise<ExitCode>;
};

/** Something that the user can mend. `remedy` says how. */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly code: string;
  readonly remedy: string | null;
  readonly exitCode: ExitCode;

  constructor(code: string, message: string, remedy: string | null = null, options: { readonly exitCode?: ExitCode; readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.remedy = remedy;
    this.exitCode = options.exitCode ?? 2;
  }
}

/** The command was called in a way that it does not understand. */
export function usageError(message: string, command: Pick<Command, 'name'>): CliError {
  return new CliError('Usage', message, `See \`stella ${command.name} --help\`.`);
}

/** Options that every command has. */
export const COMMON_OPTIONS = {
  help: { type: 'boolean', short: 'h', description: 'Show this help' },
  folder: { type: 'string', short: 'C', value: 'DIR', description: 'Work as if started in DIR' },
} as const satisfies OptionTable;

/** For commands that print a result. */
export const OUTPUT_OPTION = {
  output: { type: 'string', short: 'o', value: 'table|json|yaml', description: 'How to print the result (default: table)' },
} as const satisfies OptionTable;

/** The value of an option that takes text; undefined when it was not given. */
export function textOption(values: OptionValues, name: string): string | undefined {
  const value = values[name];
  return typeof value === 'string' ? value : undefined;
}

/** The values of an option that may be given more than once. */
export function textOptions(values: OptionValues, name: string): readonly string[] {
  const value = values[name];
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : [];
}

export function flagOption(values: OptionValues, name: string): boolean {
  return values[name] === true;
}
