import type { Terminal } from './terminal.ts';

export type LogLevel = 'info' | 'warn' | 'error';
export type LogFields = { readonly [name: string]: string | number | boolean | null };
/** Says one thing that happened. Never a secret. */
export type Log = (level: LogLevel, message: string, fields?: LogFields) => void;

/** Lines for a person at a terminal; otherwise one JSON object a line, for whatever collects logs. */
export function terminalLog(terminal: Pick<Terminal, 'note' | 'streams' | 'paint'>, now: () => Date): Log {
  const isPerson = terminal.streams.stderr.isTTY === true;
  return (level, message, fields = {}) => {
    const at = now().toISOString();
    if (!isPerson) return terminal.note(JSON.stringify({ time: at, level, message, ...fields }));
    const shown = Object.entries(fields).map(([name, value]) => ` ${name}=${typeof value === 'string' ? oneLine(value) : String(value)}`).join('');
    const painted = level === 'info' ? message : terminal.paint(level === 'error' ? 'red' : 'yellow', message);
    terminal.note(`${at.slice(11, 19)} ${painted}${terminal.paint('dim', shown)}`);
  };
}

function oneLine(text: string): string {
  const plain = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ');
  return /[\s"]/.test(plain) ? JSON.stringify(plain) : plain;
}
