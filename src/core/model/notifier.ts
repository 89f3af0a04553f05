/** What a notifier may tell of: transitions, never states that go on. */
export const EVENTS = [
  'waiting', 'allowed', 'refused', 'superseded', 'withdrawn', 'deployed', 'rolled-back', 'failed', 'fell-back', 'aborted', 'change-in-force', 'change-pending', 'stopped', 'lifted', 'rewritten', 'stalled',
] as const;
export type NotificationEvent = (typeof EVENTS)[number];

/** Names that a template may write in double braces. */
export const TEMPLATE_NAMES = ['event', 'headline', 'text', 'environment', 'application', 'release', 'record', 'at', 'log'] as const;
export type TemplateName = (typeof TEMPLATE_NAMES)[number];
export type TemplateValues = Readonly<Record<TemplateName, string>>;

const HOLE = /\{\{([^{}]*)\}\}/g;

/** Names in double braces that mean nothing; and `{{` or `}}` that belong to no name. */
export function unknownNames(template: string): readonly string[] {
  const names = [...template.matchAll(HOLE)].map(([, name = '']) => name.trim());
  const rest = template.replaceAll(HOLE, '');
  return [...new Set([...names.filter((name) => !isName(name)), ...['{{', '}}'].filter((braces) => rest.includes(braces))])];
}

/**
 * Puts values in the place of names, once: a value that holds braces stays what it is.
 * @param escape makes a value harmless where the text goes; it is not applied to the template, which people with a say have approved
 */
export function fillTemplate(template: string, values: TemplateValues, escape: (value: string) => string): string {
  return template.replaceAll(HOLE, (whole, name: string) => {
    const known = name.trim();
    return isName(known) ? escape(values[known]) : whole;
  });
}

function isName(name: string): name is TemplateName {
  return TEMPLATE_NAMES.some((known) => known === name);
}
