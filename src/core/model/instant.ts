/** Milliseconds since 1970-01-01T00:00:00Z. The core never reads a clock; instants are handed to it. */
export type InstantMs = number;

const FORM = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:\.(\d{3}))?Z$/;
const DAY_MS = 86_400_000;

/** Days since 1970-01-01 of a proleptic Gregorian date (month 1..12). */
function daysFromCivil(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  return era * 146_097 + yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear - 719_468;
}

/**
 * Parses `YYYY-MM-DDThh:mm:ss[.mmm]Z`. UTC only, so that no judge's time zone matters (T32).
 * @returns null when `text` has another form or names no real moment.
 */
export function parseInstant(text: string): InstantMs | null {
  const m = FORM.exec(text);
  if (m === null) return null;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = m.slice(1, 7).map(Number);
  const ms = daysFromCivil(year, month, day) * DAY_MS + hour * 3_600_000 + minute * 60_000 + second * 1000 + Number(m[7] ?? 0);
  return formatInstant(ms).slice(0, 19) === text.slice(0, 19) ? ms : null;
}

/** `YYYY-MM-DDThh:mm:ss.mmmZ` of an instant, for years 0 to 9999. */
export function formatInstant(instant: InstantMs): string {
  const days = Math.floor(instant / DAY_MS);
  const inDay = instant - days * DAY_MS;
  const z = days + 719_468;
  const era = Math.floor(z / 146_097);
  const dayOfEra = z - era * 146_097;
  const yearOfEra = Math.floor((dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365);
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const mp = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * mp + 2) / 5) + 1;
  const month = mp < 10 ? mp + 3 : mp - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const p = (value: number, width: number): string => String(value).padStart(width, '0');
  const clock = [Math.floor(inDay / 3_600_000), Math.floor(inDay / 60_000) % 60, Math.floor(inDay / 1000) % 60].map((v) => p(v, 2)).join(':');
  return `${p(year, 4)}-${p(month, 2)}-${p(day, 2)}T${clock}.${p(inDay % 1000, 3)}Z`;
}
