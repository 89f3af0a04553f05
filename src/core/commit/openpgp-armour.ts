import { decodeBase64 } from '../model/base64.ts';
import { refusal, type SignatureCode, type SignatureRefusal } from './signature-code.ts';

export type ArmourLabel = 'PGP SIGNATURE' | 'PGP PUBLIC KEY BLOCK';

type Armour = { readonly ok: true; readonly bytes: Uint8Array } | ({ readonly ok: false } & SignatureRefusal);

/** GnuPG and Sequoia write lines of 64 characters, RFC 9580 allows up to 76, and some writers use 60. */
const LINE_LENGTHS: readonly number[] = [60, 64, 72, 76];
const CRC24_INIT = 0xb704ce;
const CRC24_POLYNOMIAL = 0x1864cfb;

/**
 * Bytes of one armoured block. T3: begin line, empty line, full lines of canonical base64, the checksum if there is one, end line, at most
 * one final newline; nothing before, between or after, no headers (`Comment`, `Version`), no carriage return, no white space.
 * Source: RFC 9580 §6.
 */
export function decodeArmour(armoured: string, label: ArmourLabel): Armour {
  const begin = `-----BEGIN ${label}-----\n`;
  const end = `\n-----END ${label}-----`;
  const text = armoured.endsWith('\n') ? armoured.slice(0, -1) : armoured;
  if (!text.startsWith(begin)) return refuse('it does not start with its begin line');
  if (!text.endsWith(end) || text.length <= begin.length + end.length) return refuse('it does not end with its end line');
  if (text[begin.length] !== '\n') return refuse('it has headers, such as a comment');
  const lines = text.slice(begin.length + 1, -end.length).split('\n');
  const checksum = /^=[A-Za-z0-9+/]{4}$/.test(lines.at(-1) ?? '') ? lines.pop() : undefined;
  const bytes = decodeLines(lines);
  if (bytes === null) return refuse('its base64 is not canonical, or its lines are not of equal length');
  if (checksum !== undefined && checksum.slice(1) !== crc24(bytes)) return refuse('its checksum is wrong');
  return { ok: true, bytes };
}

function decodeLines(lines: readonly string[]): Uint8Array | null {
  const last = lines.at(-1) ?? '';
  const width = lines.length === 1 ? Math.max(...LINE_LENGTHS) : (lines[0] ?? '').length;
  const even = lines.every((line, i) => i === lines.length - 1 || line.length === width);
  if (!LINE_LENGTHS.includes(width) || !even || last.length === 0 || last.length > width) return null;
  return decodeBase64(lines.join(''));
}

/** Base64 of the checksum of RFC 9580 §6.1.1. */
function crc24(bytes: Uint8Array): string {
  let crc = CRC24_INIT;
  for (const byte of bytes) {
    crc ^= byte << 16;
    for (let bit = 0; bit < 8; bit += 1) {
      crc <<= 1;
      if ((crc & 0x1000000) !== 0) crc ^= CRC24_POLYNOMIAL;
    }
  }
  return Buffer.from([(crc >> 16) & 0xff, (crc >> 8) & 0xff, crc & 0xff]).toString('base64');
}

function refuse(detail: string, code: SignatureCode = 'ArmourMalformed'): Armour {
  return { ok: false, ...refusal(code, detail) };
}
