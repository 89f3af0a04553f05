export type Interpolated = { readonly ok: true; readonly text: string } | { readonly ok: false; readonly detail: string };

const REFERENCE = /\$(?:\$|([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-?+])([^}]*))?\}|)/g;

/**
 * Compose variable references of one string: variables become their values, secrets stay placeholders, everything else
 * needs a default. What is inserted is escaped, so that Compose itself finds nothing more to replace.
 * Source: Compose specification, "Interpolation".
 */
export function interpolate(text: string, variables: { readonly [name: string]: string }, secrets: ReadonlySet<string>): Interpolated {
  let fault: string | null = null;
  const result = text.replace(REFERENCE, (whole: string, plain?: string, braced?: string, operator?: string, operand?: string) => {
    if (whole === '$$') return whole;
    const name = plain ?? braced;
    if (name === undefined) {
      fault ??= `a lone $ in ${JSON.stringify(text)}; write $$`;
      return whole;
    }
    if (secrets.has(name)) return `\${${name}}`;
    const value = valueOf(Object.hasOwn(variables, name) ? variables[name] : undefined, operator, operand);
    if (value === null) fault ??= `variable ${name} has no value; add it to the environment's Configuration`;
    return (value ?? '').replaceAll('$', '$$$$');
  });
  return fault === null ? { ok: true, text: result } : { ok: false, detail: fault };
}

function valueOf(value: string | undefined, operator: string | undefined, operand: string | undefined): string | null {
  const strict = operator?.startsWith(':') === true;
  const present = value !== undefined && !(strict && value === '');
  switch (operator?.at(-1)) {
    case '+':
      return present ? (operand ?? '') : '';
    case '-':
      return present ? value : (operand ?? '');
    default:
      return present ? value : null;
  }
}
