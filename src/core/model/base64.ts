const STANDARD = /^[A-Za-z0-9+/]*={0,2}$/;
const URL_SAFE = /^[A-Za-z0-9_-]*={0,2}$/;

/** Standard base64 with padding (RFC 4648 §4), one line. */
export function encodeBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

/**
 * Strict reverse of {@link encodeBase64}: no white space, full padding, unused bits zero. One sequence of bytes has exactly one
 * text, so nobody can make a second text of a signed thing.
 * @returns null when `text` is anything but the canonical form.
 */
export function decodeBase64(text: string): Uint8Array | null {
  if (text.length % 4 !== 0 || !STANDARD.test(text)) return null;
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : null;
}

/** As {@link decodeBase64}, and the URL-safe alphabet as well (not mixed). Only for what others wrote: DSSE allows both. */
export function decodeForeignBase64(text: string): Uint8Array | null {
  if (!URL_SAFE.test(text)) return decodeBase64(text);
  return decodeBase64(text.replaceAll('-', '+').replaceAll('_', '/'));
}
