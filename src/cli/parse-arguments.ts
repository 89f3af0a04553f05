import { parseArgs } from 'node:util';
import { CliError, COMMON_OPTIONS, type Command, type OptionTable, type OptionValues } from './command.ts';
import type { OutputForm } from './terminal.ts';

export type Arguments = { readonly values: OptionValues; readonly positionals: readonly string[] };

/**
 * Options and operands of one command, strictly: an option that it does not know is an error.
 * @throws CliError `Usage`
 */
export function parseArguments(command: Pick<Command, 'name' | 'options'>, args: readonly string[]): Arguments {
  const table: OptionTable = { ...COMMON_OPTIONS, ...command.options };
  const options = Object.fromEntries(
    Object.entries(table).map(([name, { type, short, multiple }]) => [name, { type, ...(short === undefined ? {} : { short }), ...(multiple === true ? { multiple } : {}) }]),
  );
  try {
    const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
    return { values: values as OptionValues, positionals };
  } catch (cause) {
    const [first = ''] = String((cause as Error).message).split('. ');
    throw new CliError('Usage', `${first}.`, `See \`stella ${command.name} --help\`.`, { cause });
  }
}

/** @throws CliError `Usage` for a form that there is not. */
export function outputForm(values: OptionValues, { options }: Pick<Command, 'options'>): OutputForm {
  const form = values['output'] ?? 'table';
  const forms = options['output']?.forms ?? ['table', 'json', 'yaml'];
  const found = forms.find((one) => one === form);
  if (found !== undefined) return found;
  throw new CliError('Usage', `-o ${String(form)} is no form of output.`, `Use ${forms.slice(0, -1).join(', ')} or ${forms.at(-1) ?? ''}.`);
}

/** The help of one command: usage, what it teaches, its options. */
export function renderHelp(command: Pick<Command, 'name' | 'summary' | 'usage' | 'help' | 'options'>): string {
  const options = Object.entries({ ...command.options, ...COMMON_OPTIONS }).map(([name, spec]) => {
    const flag = `${spec.short === undefined ? '    ' : `-${spec.short}, `}--${name}${spec.type === 'string' ? ` ${spec.value ?? 'TEXT'}` : ''}`;
    return [flag, spec.description] as const;
  });
  const width = Math.min(36, Math.max(...options.map(([flag]) => flag.length)));
  const lines = options.map(([flag, text]) => (flag.length > width ? `  ${flag}\n  ${''.padEnd(width)}  ${text}` : `  ${flag.padEnd(width)}  ${text}`));
  return `${command.summary}.\n\nUsage:\n${command.usage.map((line) => `  ${line}`).join('\n')}\n\n${command.help.trim()}\n\nOptions:\n${lines.join('\n')}\n`;
}
