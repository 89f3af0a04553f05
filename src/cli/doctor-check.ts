/** What `stella doctor` found about one thing. `warn` also where nobody can tell: that never passes as ok. */
export type Check = { readonly name: string; readonly result: 'ok' | 'warn' | 'fail'; readonly text: string; readonly remedy: string | null };

export const ok = (name: string, text: string): Check => ({ name, result: 'ok', text, remedy: null });
export const warn = (name: string, text: string, remedy: string | null): Check => ({ name, result: 'warn', text, remedy });
export const fail = (name: string, text: string, remedy: string | null): Check => ({ name, result: 'fail', text, remedy });
