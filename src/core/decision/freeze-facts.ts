import type { DocumentOf, FreezeCalendar, Quorum } from '../model/documents.ts';
import { compareText } from '../model/names.ts';
import { allInForce, inForceOf, type LogState } from '../evidence/log-state.ts';
import type { FreezeFact } from './types.ts';

/** What a promotion would do where. @param release version, null for a removal @param agents names, in any order, of those that would work */
export type FreezePlace = { readonly environment: string; readonly application: string; readonly release: string | null; readonly agents: readonly string[] };

/** Every stop in force that reaches a promotion, whether or not it holds just now, sorted by name (T24). */
export function freezeFacts(state: LogState, place: FreezePlace): readonly FreezeFact[] {
  const freezes = allInForce(state, 'Freeze').filter((freeze) => reaches(freeze, place)).map(factOf);
  const suspended = [...new Set(place.agents)].filter((agent) => inForceOf(state, 'Agent', agent)?.spec.suspended !== undefined);
  return [...freezes, ...suspended.map((agent): FreezeFact => ({ name: `agent/${agent}`, stops: 'agent', calendar: null, except: null, excepts: [] }))].sort((a, b) => compareText(a.name, b.name));
}

function reaches({ spec }: DocumentOf<'Freeze'>, { environment, application, release }: FreezePlace): boolean {
  const covers = (list: readonly string[] | undefined, name: string | null): boolean => list === undefined || (name !== null && list.includes(name));
  return covers(spec.environments, environment) && covers(spec.applications, application) && covers(spec.releases, release === null ? null : `${application}/${release}`);
}

function factOf({ metadata, spec }: DocumentOf<'Freeze'>): FreezeFact {
  return {
    name: metadata.name, stops: spec.releases === undefined ? 'place' : 'release', calendar: spec.calendar === undefined ? null : calendarFact(spec.calendar),
    except: spec.except === undefined ? null : demand(spec.except), excepts: [],
  };
}

/** A calendar with every list that it may have. */
export function calendarFact({ windows = [], weekly = [], exceptions = [] }: FreezeCalendar): NonNullable<FreezeFact['calendar']> {
  return { windows, weekly, exceptions };
}

function demand({ people, roles = [] }: Quorum): NonNullable<FreezeFact['except']> {
  return { people, roles: [...roles].sort((a, b) => compareText(a.role, b.role) || a.count - b.count).map(({ role, count }) => ({ role, count })) };
}
