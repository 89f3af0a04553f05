const EMPTY = new Uint8Array(0);

/**
 * Reads the SSH wire format (RFC 4251 §5) from bytes that an attacker chose. Total: a read past the end sets `failed`, returns
 * an empty value and consumes nothing more, so that callers read all fields first and ask `finished` once.
 */
export class WireReader {
  #bytes: Uint8Array;
  #offset = 0;
  #failed = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Whether every read so far found what it asked for and nothing is left (T4: no trailing bytes). */
  get finished(): boolean {
    return !this.#failed && this.#offset === this.#bytes.length;
  }

  /** Whether a read went past the end. */
  get failed(): boolean {
    return this.#failed;
  }

  /** The next `length` bytes, as a view. */
  take(length: number): Uint8Array {
    if (this.#failed || length > this.#bytes.length - this.#offset) {
      this.#failed = true;
      return EMPTY;
    }
    const part = this.#bytes.subarray(this.#offset, this.#offset + length);
    this.#offset += length;
    return part;
  }

  byte(): number {
    return this.take(1)[0] ?? 0;
  }

  uint32(): number {
    const [a = 0, b = 0, c = 0, d = 0] = this.take(4);
    return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
  }

  /** A length and as many bytes. */
  string(): Uint8Array {
    return this.take(this.uint32());
  }

  /** A string as text, each byte one character, for names that are compared with ASCII constants. */
  text(): string {
    return latin1(this.string());
  }

  /** A positive integer in its one minimal encoding, as big-endian magnitude without the sign byte. */
  mpint(): Uint8Array {
    const bytes = this.string();
    const [first, second] = bytes;
    const padded = first === 0 && second !== undefined && second >= 0x80;
    // T4: an mpint that is zero, negative or longer than it must be is a second spelling of something else.
    if (first === undefined || first >= 0x80 || (first === 0 && !padded)) {
      this.#failed = true;
      return EMPTY;
    }
    return padded ? bytes.subarray(1) : bytes;
  }
}

/** Text with one character for each byte: lossless, so offsets in the text are offsets in the bytes. */
export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** A length and the bytes, as SSH writes a string. */
export function wireString(value: Uint8Array | string): Uint8Array {
  const body = typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
  const out = new Uint8Array(4 + body.length);
  new DataView(out.buffer).setUint32(0, body.length);
  out.set(body, 4);
  return out;
}

/** One array of the bytes of all parts. */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    out.set(part, offset);
    offset += part.length;
  }
  return out;
}
