/** One change of the clock: month (1..12), which of its weekdays (1..5, 5: the last), weekday (0: Sunday), and the minute of that day on the clock before. */
export type ClockChange = readonly [month: number, week: number, weekday: number, minute: number];
/** Offsets are minutes east of UTC. `begins` and `ends` of the other offset, each year. */
export type ZoneRule = { readonly standard: number; readonly summer: { readonly offset: number; readonly begins: ClockChange; readonly ends: ClockChange } | null };

/** `+02:00`, `-03:30`: a zone that never changes. */
const FIXED = /^([+-])(0\d|1[0-4]):([0-5]\d)$/;

/**
 * The rule of an IANA time zone, `UTC`, or an offset such as `+02:00`; null when it is not known. The table is a part of rule set 1: what a
 * calendar means is the same on any machine and at any time of replay, whatever time zone data lies there (T32).
 */
export function zoneRuleOf(timeZone: string): ZoneRule | null {
  const fixed = FIXED.exec(timeZone);
  if (fixed !== null) return { standard: (fixed[1] === '-' ? -1 : 1) * (Number(fixed[2]) * 60 + Number(fixed[3])), summer: null };
  if (timeZone === 'UTC') return { standard: 0, summer: null };
  return Object.hasOwn(ZONES, timeZone) ? (RULES[ZONES[timeZone] ?? -1] ?? null) : null;
}

/** Every name that {@link zoneRuleOf} knows besides `UTC` and offsets, sorted. */
export function timeZoneNames(): readonly string[] {
  return Object.keys(ZONES);
}

/** What clocks do, as of tzdata 2026c. */
const RULES: readonly ZoneRule[] = [
  { standard: -660, summer: null },
  { standard: -600, summer: null },
  { standard: -600, summer: { offset: -540, begins: [3, 2, 0, 120], ends: [11, 1, 0, 120] } },
  { standard: -570, summer: null },
  { standard: -540, summer: null },
  { standard: -540, summer: { offset: -480, begins: [3, 2, 0, 120], ends: [11, 1, 0, 120] } },
  { standard: -480, summer: null },
  { standard: -480, summer: { offset: -420, begins: [3, 2, 0, 120], ends: [11, 1, 0, 120] } },
  { standard: -420, summer: null },
  { standard: -420, summer: { offset: -360, begins: [3, 2, 0, 120], ends: [11, 1, 0, 120] } },
  { standard: -360, summer: null },
  { standard: -360, summer: { offset: -300, begins: [3, 2, 0, 120], ends: [11, 1, 0, 120] } },
  { standard: -360, summer: { offset: -300, begins: [9, 1, 6, 1320], ends: [4, 1, 6, 1320] } },
  { standard: -300, summer: null },
  { standard: -300, summer: { offset: -240, begins: [3, 2, 0, 0], ends: [11, 1, 0, 60] } },
  { standard: -300, summer: { offset: -240, begins: [3, 2, 0, 120], ends: [11, 1, 0, 120] } },
  { standard: -240, summer: null },
  { standard: -240, summer: { offset: -180, begins: [3, 2, 0, 120], ends: [11, 1, 0, 120] } },
  { standard: -240, summer: { offset: -180, begins: [9, 1, 6, 1440], ends: [4, 1, 6, 1440] } },
  { standard: -210, summer: { offset: -150, begins: [3, 2, 0, 120], ends: [11, 1, 0, 120] } },
  { standard: -180, summer: null },
  { standard: -180, summer: { offset: -120, begins: [3, 2, 0, 120], ends: [11, 1, 0, 120] } },
  { standard: -120, summer: null },
  { standard: -120, summer: { offset: -60, begins: [3, 5, 0, -60], ends: [10, 5, 0, 0] } },
  { standard: -60, summer: null },
  { standard: -60, summer: { offset: 0, begins: [3, 5, 0, 0], ends: [10, 5, 0, 60] } },
  { standard: 0, summer: null },
  { standard: 0, summer: { offset: 120, begins: [3, 5, 0, 60], ends: [10, 5, 0, 180] } },
  { standard: 0, summer: { offset: 60, begins: [3, 5, 0, 60], ends: [10, 5, 0, 120] } },
  { standard: 60, summer: null },
  { standard: 60, summer: { offset: 0, begins: [10, 5, 0, 120], ends: [3, 5, 0, 60] } },
  { standard: 60, summer: { offset: 120, begins: [3, 5, 0, 120], ends: [10, 5, 0, 180] } },
  { standard: 120, summer: null },
  { standard: 120, summer: { offset: 180, begins: [3, 4, 4, 1560], ends: [10, 5, 0, 120] } },
  { standard: 120, summer: { offset: 180, begins: [3, 5, 0, 0], ends: [10, 5, 0, 0] } },
  { standard: 120, summer: { offset: 180, begins: [3, 5, 0, 180], ends: [10, 5, 0, 240] } },
  { standard: 120, summer: { offset: 180, begins: [4, 5, 5, 0], ends: [10, 5, 4, 1440] } },
  { standard: 180, summer: null },
  { standard: 210, summer: null },
  { standard: 240, summer: null },
  { standard: 270, summer: null },
  { standard: 300, summer: null },
  { standard: 330, summer: null },
  { standard: 345, summer: null },
  { standard: 360, summer: null },
  { standard: 390, summer: null },
  { standard: 420, summer: null },
  { standard: 480, summer: null },
  { standard: 525, summer: null },
  { standard: 540, summer: null },
  { standard: 570, summer: null },
  { standard: 570, summer: { offset: 630, begins: [10, 1, 0, 120], ends: [4, 1, 0, 180] } },
  { standard: 600, summer: null },
  { standard: 600, summer: { offset: 660, begins: [10, 1, 0, 120], ends: [4, 1, 0, 180] } },
  { standard: 630, summer: { offset: 660, begins: [10, 1, 0, 120], ends: [4, 1, 0, 120] } },
  { standard: 660, summer: null },
  { standard: 660, summer: { offset: 720, begins: [10, 1, 0, 120], ends: [4, 1, 0, 180] } },
  { standard: 720, summer: null },
  { standard: 720, summer: { offset: 780, begins: [9, 5, 0, 120], ends: [4, 1, 0, 180] } },
  { standard: 765, summer: { offset: 825, begins: [9, 5, 0, 165], ends: [4, 1, 0, 225] } },
  { standard: 780, summer: null },
  { standard: 840, summer: null },
];

/**
 * Which of {@link RULES} holds where. Left out are the four zones whose clocks follow no rule of this form (Africa/Casablanca,
 * Africa/El_Aaiun, Asia/Gaza, Asia/Hebron): write their offset.
 */
const ZONES: Readonly<Record<string, number>> = {
  'Africa/Abidjan': 26, 'Africa/Accra': 26, 'Africa/Addis_Ababa': 37, 'Africa/Algiers': 29, 'Africa/Asmara': 37, 'Africa/Asmera': 37, 'Africa/Bamako': 26,
  'Africa/Bangui': 29, 'Africa/Banjul': 26, 'Africa/Bissau': 26, 'Africa/Blantyre': 32, 'Africa/Brazzaville': 29, 'Africa/Bujumbura': 32, 'Africa/Cairo': 36,
  'Africa/Ceuta': 31, 'Africa/Conakry': 26, 'Africa/Dakar': 26, 'Africa/Dar_es_Salaam': 37, 'Africa/Djibouti': 37, 'Africa/Douala': 29, 'Africa/Freetown': 26,
  'Africa/Gaborone': 32, 'Africa/Harare': 32, 'Africa/Johannesburg': 32, 'Africa/Juba': 32, 'Africa/Kampala': 37, 'Africa/Khartoum': 32, 'Africa/Kigali': 32,
  'Africa/Kinshasa': 29, 'Africa/Lagos': 29, 'Africa/Libreville': 29, 'Africa/Lome': 26, 'Africa/Luanda': 29, 'Africa/Lubumbashi': 32, 'Africa/Lusaka': 32,
  'Africa/Malabo': 29, 'Africa/Maputo': 32, 'Africa/Maseru': 32, 'Africa/Mbabane': 32, 'Africa/Mogadishu': 37, 'Africa/Monrovia': 26, 'Africa/Nairobi': 37,
  'Africa/Ndjamena': 29, 'Africa/Niamey': 29, 'Africa/Nouakchott': 26, 'Africa/Ouagadougou': 26, 'Africa/Porto-Novo': 29, 'Africa/Sao_Tome': 26, 'Africa/Timbuktu': 26,
  'Africa/Tripoli': 32, 'Africa/Tunis': 29, 'Africa/Windhoek': 32, 'America/Adak': 2, 'America/Anchorage': 5, 'America/Anguilla': 16, 'America/Antigua': 16,
  'America/Araguaina': 20, 'America/Argentina/Buenos_Aires': 20, 'America/Argentina/Catamarca': 20, 'America/Argentina/ComodRivadavia': 20,
  'America/Argentina/Cordoba': 20, 'America/Argentina/Jujuy': 20, 'America/Argentina/La_Rioja': 20, 'America/Argentina/Mendoza': 20,
  'America/Argentina/Rio_Gallegos': 20, 'America/Argentina/Salta': 20, 'America/Argentina/San_Juan': 20, 'America/Argentina/San_Luis': 20,
  'America/Argentina/Tucuman': 20, 'America/Argentina/Ushuaia': 20, 'America/Aruba': 16, 'America/Asuncion': 20, 'America/Atikokan': 13, 'America/Atka': 2,
  'America/Bahia': 20, 'America/Bahia_Banderas': 10, 'America/Barbados': 16, 'America/Belem': 20, 'America/Belize': 10, 'America/Blanc-Sablon': 16,
  'America/Boa_Vista': 16, 'America/Bogota': 13, 'America/Boise': 9, 'America/Buenos_Aires': 20, 'America/Cambridge_Bay': 9, 'America/Campo_Grande': 16,
  'America/Cancun': 13, 'America/Caracas': 16, 'America/Catamarca': 20, 'America/Cayenne': 20, 'America/Cayman': 13, 'America/Chicago': 11, 'America/Chihuahua': 10,
  'America/Ciudad_Juarez': 9, 'America/Coral_Harbour': 13, 'America/Cordoba': 20, 'America/Costa_Rica': 10, 'America/Coyhaique': 20, 'America/Creston': 8,
  'America/Cuiaba': 16, 'America/Curacao': 16, 'America/Danmarkshavn': 26, 'America/Dawson': 8, 'America/Dawson_Creek': 8, 'America/Denver': 9, 'America/Detroit': 15,
  'America/Dominica': 16, 'America/Edmonton': 10, 'America/Eirunepe': 13, 'America/El_Salvador': 10, 'America/Ensenada': 7, 'America/Fort_Nelson': 8,
  'America/Fort_Wayne': 15, 'America/Fortaleza': 20, 'America/Glace_Bay': 17, 'America/Godthab': 23, 'America/Goose_Bay': 17, 'America/Grand_Turk': 15,
  'America/Grenada': 16, 'America/Guadeloupe': 16, 'America/Guatemala': 10, 'America/Guayaquil': 13, 'America/Guyana': 16, 'America/Halifax': 17, 'America/Havana': 14,
  'America/Hermosillo': 8, 'America/Indiana/Indianapolis': 15, 'America/Indiana/Knox': 11, 'America/Indiana/Marengo': 15, 'America/Indiana/Petersburg': 15,
  'America/Indiana/Tell_City': 11, 'America/Indiana/Vevay': 15, 'America/Indiana/Vincennes': 15, 'America/Indiana/Winamac': 15, 'America/Indianapolis': 15,
  'America/Inuvik': 9, 'America/Iqaluit': 15, 'America/Jamaica': 13, 'America/Jujuy': 20, 'America/Juneau': 5, 'America/Kentucky/Louisville': 15,
  'America/Kentucky/Monticello': 15, 'America/Knox_IN': 11, 'America/Kralendijk': 16, 'America/La_Paz': 16, 'America/Lima': 13, 'America/Los_Angeles': 7,
  'America/Louisville': 15, 'America/Lower_Princes': 16, 'America/Maceio': 20, 'America/Managua': 10, 'America/Manaus': 16, 'America/Marigot': 16,
  'America/Martinique': 16, 'America/Matamoros': 11, 'America/Mazatlan': 8, 'America/Mendoza': 20, 'America/Menominee': 11, 'America/Merida': 10,
  'America/Metlakatla': 5, 'America/Mexico_City': 10, 'America/Miquelon': 21, 'America/Moncton': 17, 'America/Monterrey': 10, 'America/Montevideo': 20,
  'America/Montreal': 15, 'America/Montserrat': 16, 'America/Nassau': 15, 'America/New_York': 15, 'America/Nipigon': 15, 'America/Nome': 5, 'America/Noronha': 22,
  'America/North_Dakota/Beulah': 11, 'America/North_Dakota/Center': 11, 'America/North_Dakota/New_Salem': 11, 'America/Nuuk': 23, 'America/Ojinaga': 11,
  'America/Panama': 13, 'America/Pangnirtung': 15, 'America/Paramaribo': 20, 'America/Phoenix': 8, 'America/Port-au-Prince': 15, 'America/Port_of_Spain': 16,
  'America/Porto_Acre': 13, 'America/Porto_Velho': 16, 'America/Puerto_Rico': 16, 'America/Punta_Arenas': 20, 'America/Rainy_River': 11, 'America/Rankin_Inlet': 11,
  'America/Recife': 20, 'America/Regina': 10, 'America/Resolute': 11, 'America/Rio_Branco': 13, 'America/Rosario': 20, 'America/Santa_Isabel': 7, 'America/Santarem': 20,
  'America/Santiago': 18, 'America/Santo_Domingo': 16, 'America/Sao_Paulo': 20, 'America/Scoresbysund': 23, 'America/Shiprock': 9, 'America/Sitka': 5,
  'America/St_Barthelemy': 16, 'America/St_Johns': 19, 'America/St_Kitts': 16, 'America/St_Lucia': 16, 'America/St_Thomas': 16, 'America/St_Vincent': 16,
  'America/Swift_Current': 10, 'America/Tegucigalpa': 10, 'America/Thule': 17, 'America/Thunder_Bay': 15, 'America/Tijuana': 7, 'America/Toronto': 15,
  'America/Tortola': 16, 'America/Vancouver': 8, 'America/Virgin': 16, 'America/Whitehorse': 8, 'America/Winnipeg': 11, 'America/Yakutat': 5, 'America/Yellowknife': 10,
  'Antarctica/Casey': 47, 'Antarctica/Davis': 46, 'Antarctica/DumontDUrville': 52, 'Antarctica/Macquarie': 53, 'Antarctica/Mawson': 41, 'Antarctica/McMurdo': 58,
  'Antarctica/Palmer': 20, 'Antarctica/Rothera': 20, 'Antarctica/South_Pole': 58, 'Antarctica/Syowa': 37, 'Antarctica/Troll': 27, 'Antarctica/Vostok': 41,
  'Arctic/Longyearbyen': 31, 'Asia/Aden': 37, 'Asia/Almaty': 41, 'Asia/Amman': 37, 'Asia/Anadyr': 57, 'Asia/Aqtau': 41, 'Asia/Aqtobe': 41, 'Asia/Ashgabat': 41,
  'Asia/Ashkhabad': 41, 'Asia/Atyrau': 41, 'Asia/Baghdad': 37, 'Asia/Bahrain': 37, 'Asia/Baku': 39, 'Asia/Bangkok': 46, 'Asia/Barnaul': 46, 'Asia/Beirut': 34,
  'Asia/Bishkek': 44, 'Asia/Brunei': 47, 'Asia/Calcutta': 42, 'Asia/Chita': 49, 'Asia/Choibalsan': 47, 'Asia/Chongqing': 47, 'Asia/Chungking': 47, 'Asia/Colombo': 42,
  'Asia/Dacca': 44, 'Asia/Damascus': 37, 'Asia/Dhaka': 44, 'Asia/Dili': 49, 'Asia/Dubai': 39, 'Asia/Dushanbe': 41, 'Asia/Famagusta': 35, 'Asia/Harbin': 47,
  'Asia/Ho_Chi_Minh': 46, 'Asia/Hong_Kong': 47, 'Asia/Hovd': 46, 'Asia/Irkutsk': 47, 'Asia/Istanbul': 37, 'Asia/Jakarta': 46, 'Asia/Jayapura': 49, 'Asia/Jerusalem': 33,
  'Asia/Kabul': 40, 'Asia/Kamchatka': 57, 'Asia/Karachi': 41, 'Asia/Kashgar': 44, 'Asia/Kathmandu': 43, 'Asia/Katmandu': 43, 'Asia/Khandyga': 49, 'Asia/Kolkata': 42,
  'Asia/Krasnoyarsk': 46, 'Asia/Kuala_Lumpur': 47, 'Asia/Kuching': 47, 'Asia/Kuwait': 37, 'Asia/Macao': 47, 'Asia/Macau': 47, 'Asia/Magadan': 55, 'Asia/Makassar': 47,
  'Asia/Manila': 47, 'Asia/Muscat': 39, 'Asia/Nicosia': 35, 'Asia/Novokuznetsk': 46, 'Asia/Novosibirsk': 46, 'Asia/Omsk': 44, 'Asia/Oral': 41, 'Asia/Phnom_Penh': 46,
  'Asia/Pontianak': 46, 'Asia/Pyongyang': 49, 'Asia/Qatar': 37, 'Asia/Qostanay': 41, 'Asia/Qyzylorda': 41, 'Asia/Rangoon': 45, 'Asia/Riyadh': 37, 'Asia/Saigon': 46,
  'Asia/Sakhalin': 55, 'Asia/Samarkand': 41, 'Asia/Seoul': 49, 'Asia/Shanghai': 47, 'Asia/Singapore': 47, 'Asia/Srednekolymsk': 55, 'Asia/Taipei': 47,
  'Asia/Tashkent': 41, 'Asia/Tbilisi': 39, 'Asia/Tehran': 38, 'Asia/Tel_Aviv': 33, 'Asia/Thimbu': 44, 'Asia/Thimphu': 44, 'Asia/Tokyo': 49, 'Asia/Tomsk': 46,
  'Asia/Ujung_Pandang': 47, 'Asia/Ulaanbaatar': 47, 'Asia/Ulan_Bator': 47, 'Asia/Urumqi': 44, 'Asia/Ust-Nera': 52, 'Asia/Vientiane': 46, 'Asia/Vladivostok': 52,
  'Asia/Yakutsk': 49, 'Asia/Yangon': 45, 'Asia/Yekaterinburg': 41, 'Asia/Yerevan': 39, 'Atlantic/Azores': 25, 'Atlantic/Bermuda': 17, 'Atlantic/Canary': 28,
  'Atlantic/Cape_Verde': 24, 'Atlantic/Faeroe': 28, 'Atlantic/Faroe': 28, 'Atlantic/Jan_Mayen': 31, 'Atlantic/Madeira': 28, 'Atlantic/Reykjavik': 26,
  'Atlantic/South_Georgia': 22, 'Atlantic/St_Helena': 26, 'Atlantic/Stanley': 20, 'Australia/ACT': 53, 'Australia/Adelaide': 51, 'Australia/Brisbane': 52,
  'Australia/Broken_Hill': 51, 'Australia/Canberra': 53, 'Australia/Currie': 53, 'Australia/Darwin': 50, 'Australia/Eucla': 48, 'Australia/Hobart': 53,
  'Australia/LHI': 54, 'Australia/Lindeman': 52, 'Australia/Lord_Howe': 54, 'Australia/Melbourne': 53, 'Australia/NSW': 53, 'Australia/North': 50, 'Australia/Perth': 47,
  'Australia/Queensland': 52, 'Australia/South': 51, 'Australia/Sydney': 53, 'Australia/Tasmania': 53, 'Australia/Victoria': 53, 'Australia/West': 47,
  'Australia/Yancowinna': 51, 'Europe/Amsterdam': 31, 'Europe/Andorra': 31, 'Europe/Astrakhan': 39, 'Europe/Athens': 35, 'Europe/Belfast': 28, 'Europe/Belgrade': 31,
  'Europe/Berlin': 31, 'Europe/Bratislava': 31, 'Europe/Brussels': 31, 'Europe/Bucharest': 35, 'Europe/Budapest': 31, 'Europe/Busingen': 31, 'Europe/Chisinau': 35,
  'Europe/Copenhagen': 31, 'Europe/Dublin': 30, 'Europe/Gibraltar': 31, 'Europe/Guernsey': 28, 'Europe/Helsinki': 35, 'Europe/Isle_of_Man': 28, 'Europe/Istanbul': 37,
  'Europe/Jersey': 28, 'Europe/Kaliningrad': 32, 'Europe/Kiev': 35, 'Europe/Kirov': 37, 'Europe/Kyiv': 35, 'Europe/Lisbon': 28, 'Europe/Ljubljana': 31,
  'Europe/London': 28, 'Europe/Luxembourg': 31, 'Europe/Madrid': 31, 'Europe/Malta': 31, 'Europe/Mariehamn': 35, 'Europe/Minsk': 37, 'Europe/Monaco': 31,
  'Europe/Moscow': 37, 'Europe/Nicosia': 35, 'Europe/Oslo': 31, 'Europe/Paris': 31, 'Europe/Podgorica': 31, 'Europe/Prague': 31, 'Europe/Riga': 35, 'Europe/Rome': 31,
  'Europe/Samara': 39, 'Europe/San_Marino': 31, 'Europe/Sarajevo': 31, 'Europe/Saratov': 39, 'Europe/Simferopol': 37, 'Europe/Skopje': 31, 'Europe/Sofia': 35,
  'Europe/Stockholm': 31, 'Europe/Tallinn': 35, 'Europe/Tirane': 31, 'Europe/Tiraspol': 35, 'Europe/Ulyanovsk': 39, 'Europe/Uzhgorod': 35, 'Europe/Vaduz': 31,
  'Europe/Vatican': 31, 'Europe/Vienna': 31, 'Europe/Vilnius': 35, 'Europe/Volgograd': 37, 'Europe/Warsaw': 31, 'Europe/Zagreb': 31, 'Europe/Zaporozhye': 35,
  'Europe/Zurich': 31, 'Indian/Antananarivo': 37, 'Indian/Chagos': 44, 'Indian/Christmas': 46, 'Indian/Cocos': 45, 'Indian/Comoro': 37, 'Indian/Kerguelen': 41,
  'Indian/Mahe': 39, 'Indian/Maldives': 41, 'Indian/Mauritius': 39, 'Indian/Mayotte': 37, 'Indian/Reunion': 39, 'Pacific/Apia': 60, 'Pacific/Auckland': 58,
  'Pacific/Bougainville': 55, 'Pacific/Chatham': 59, 'Pacific/Chuuk': 52, 'Pacific/Easter': 12, 'Pacific/Efate': 55, 'Pacific/Enderbury': 60, 'Pacific/Fakaofo': 60,
  'Pacific/Fiji': 57, 'Pacific/Funafuti': 57, 'Pacific/Galapagos': 10, 'Pacific/Gambier': 4, 'Pacific/Guadalcanal': 55, 'Pacific/Guam': 52, 'Pacific/Honolulu': 1,
  'Pacific/Johnston': 1, 'Pacific/Kanton': 60, 'Pacific/Kiritimati': 61, 'Pacific/Kosrae': 55, 'Pacific/Kwajalein': 57, 'Pacific/Majuro': 57, 'Pacific/Marquesas': 3,
  'Pacific/Midway': 0, 'Pacific/Nauru': 57, 'Pacific/Niue': 0, 'Pacific/Norfolk': 56, 'Pacific/Noumea': 55, 'Pacific/Pago_Pago': 0, 'Pacific/Palau': 49,
  'Pacific/Pitcairn': 6, 'Pacific/Pohnpei': 55, 'Pacific/Ponape': 55, 'Pacific/Port_Moresby': 52, 'Pacific/Rarotonga': 1, 'Pacific/Saipan': 52, 'Pacific/Samoa': 0,
  'Pacific/Tahiti': 1, 'Pacific/Tarawa': 57, 'Pacific/Tongatapu': 60, 'Pacific/Truk': 52, 'Pacific/Wake': 57, 'Pacific/Wallis': 57, 'Pacific/Yap': 52,
};
