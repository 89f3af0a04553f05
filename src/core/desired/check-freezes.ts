import type { CalendarWindow, FreezeCalendar, WeeklyWindow } from '../model/documents.ts';
import { parseLocal } from '../model/local-time.ts';
import { zoneRuleOf } from '../model/time-zones.ts';
import type { Diagnostic } from './diagnostic.ts';
import { diagnosticAt, type DocumentLookup, type Located } from './document-lookup.ts';
import type { FieldPath } from './source-position.ts';

/** T12: calendars that would not mean what they seem to: unknown time zones, days that do not exist, ends before their begins. */
export function checkFreezes(documents: DocumentLookup): readonly Diagnostic[] {
  return documents.all('Freeze').flatMap((located) => calendarFaults(['spec', 'calendar'], located.document.spec.calendar).map(({ path, message, remedy }) => diagnosticAt(located as Located, path, { code: 'InvalidValue', message, remedy })));
}

/** Something wrong in a document, at a path. */
export type Fault = { readonly path: FieldPath; readonly message: string; readonly remedy: string };

/** @param at where the calendar stands */
export function calendarFaults(at: FieldPath, calendar: FreezeCalendar | undefined): readonly Fault[] {
  const single = (['windows', 'exceptions'] as const).flatMap((list) => (calendar?.[list] ?? []).flatMap((window, i) => windowFaults([...at, list, i], window)));
  return [...single, ...(calendar?.weekly ?? []).flatMap((window, i) => zoneFaults([...at, 'weekly', i], window))];
}

function windowFaults(path: FieldPath, window: CalendarWindow): readonly Fault[] {
  const [start, end] = [parseLocal(window.start), parseLocal(window.end)];
  const unreal = (['start', 'end'] as const).filter((side) => parseLocal(window[side]) === null);
  const faults = unreal.map((side): Fault => ({ path: [...path, side], message: `${window[side]} is no time on any clock`, remedy: 'Write a day that exists, as 2031-05-17T09:30.' }));
  const ends = start !== null && end !== null && end <= start ? [{ path: [...path, 'end'], message: `it ends at ${window.end}, which is not after ${window.start}`, remedy: 'Write a later end.' }] : [];
  return [...faults, ...ends, ...zoneFaults(path, window)];
}

function zoneFaults(path: FieldPath, { timeZone }: CalendarWindow | WeeklyWindow): readonly Fault[] {
  if (zoneRuleOf(timeZone) !== null) return [];
  return [{ path: [...path, 'timeZone'], message: `the time zone ${timeZone} is not known here`, remedy: 'Write a name such as Europe/Berlin, UTC, or an offset such as +02:00.' }];
}
