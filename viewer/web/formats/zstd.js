/** Zstandard decompression (RFC 8878), without dictionaries. The checksum of a frame is not compared. */
import { FormatError } from "../errors.js";

const MAGIC = 0xfd2fb528;
const BLOCK_LIMIT = 1 << 17;

/** What a broken stream throws inside; turned into a FormatError at the door. */
class Broken extends Error {}
const check = (condition, what) => {
  if (!condition) throw new Broken(what);
};

const highBit = (x) => 31 - Math.clz32(x);

/** Bits from the end of a byte range to its start, most significant first; beyond the start there are zeros. */
class BackwardBits {
  constructor(bytes, start, end) {
    check(end > start && bytes[end - 1] !== 0, "a bit stream without its end mark");
    this.bytes = bytes;
    this.start = start;
    this.left = 8 * (end - start) - 8 + highBit(bytes[end - 1]);
  }

  /** The next `n` <= 24 bits, which stay. */
  peek(n) {
    let from = this.left - n;
    let lost = 0;
    if (from < 0) {
      lost = -from;
      from = 0;
      if (lost >= n) return 0;
    }
    const at = this.start + (from >> 3);
    const word = this.bytes[at] | (this.bytes[at + 1] << 8) | (this.bytes[at + 2] << 16) | (this.bytes[at + 3] << 24);
    return ((word >>> (from & 7)) & ((1 << (n - lost)) - 1)) << lost;
  }

  /** The next `n` <= 31 bits. */
  read(n) {
    if (n > 24) {
      const high = this.read(n - 16);
      return high * 65536 + this.read(16);
    }
    const value = n ? this.peek(n) : 0;
    this.left -= n;
    return value;
  }
}

/** Probabilities of an FSE table and the byte behind them (RFC 8878, 4.1.1). */
function readProbabilities(bytes, start, end, mostLog) {
  let bit = 8 * start;
  const peek = (n) => {
    const at = bit >> 3;
    const word = (at < end ? bytes[at] : 0) | ((at + 1 < end ? bytes[at + 1] : 0) << 8) | ((at + 2 < end ? bytes[at + 2] : 0) << 16);
    return (word >> (bit & 7)) & ((1 << n) - 1);
  };
  const log = peek(4) + 5;
  bit += 4;
  check(log <= mostLog, "an FSE table that is too large");
  let remaining = 1 << log;
  const probabilities = [];
  while (remaining > 0) {
    check(bit <= 8 * end && probabilities.length < 256, "an FSE table that does not end");
    const bits = highBit(remaining + 1) + 1;
    let value = peek(bits);
    const low = (1 << (bits - 1)) - 1;
    const threshold = (1 << bits) - 1 - (remaining + 1);
    if ((value & low) < threshold) {
      bit += bits - 1;
      value &= low;
    } else {
      bit += bits;
      if (value > low) value -= threshold;
    }
    const probability = value - 1;
    remaining -= Math.abs(probability);
    probabilities.push(probability);
    if (probability === 0) {
      for (let repeat = 3; repeat === 3; ) {
        repeat = peek(2);
        bit += 2;
        for (let i = 0; i < repeat; i++) probabilities.push(0);
        check(bit <= 8 * end && probabilities.length < 512, "an FSE table that does not end");
      }
    }
  }
  const next = (bit + 7) >> 3;
  check(remaining === 0 && next <= end && probabilities.length <= 256, "an FSE table of wrong size");
  return { table: buildTable(probabilities, log), next };
}

/** Decoding table of an FSE code: by state its symbol, bits to read, and base of the next state. */
function buildTable(probabilities, log) {
  const size = 1 << log;
  const symbols = new Uint8Array(size);
  const bits = new Uint8Array(size);
  const bases = new Uint16Array(size);
  const next = new Uint16Array(probabilities.length);
  let high = size;
  probabilities.forEach((p, s) => {
    if (p === -1) {
      symbols[--high] = s;
      next[s] = 1;
    }
  });
  const step = (size >> 1) + (size >> 3) + 3;
  let at = 0;
  probabilities.forEach((p, s) => {
    if (p <= 0) return;
    next[s] = p;
    for (let i = 0; i < p; i++) {
      symbols[at] = s;
      do at = (at + step) & (size - 1);
      while (at >= high);
    }
  });
  for (let i = 0; i < size; i++) {
    const x = next[symbols[i]]++;
    bits[i] = log - highBit(x);
    bases[i] = (x << bits[i]) - size;
  }
  return { log, symbols, bits, bases };
}

const single = (symbol) => ({ log: 0, symbols: Uint8Array.of(symbol), bits: Uint8Array.of(0), bases: Uint16Array.of(0) });

/** Huffman table of the literals (RFC 8878, 4.2.1), and the byte behind its description. */
function readHuffman(bytes, start, end) {
  check(start < end, "a Huffman table");
  const head = bytes[start];
  const weights = [];
  let next;
  if (head >= 128) {
    const count = head - 127;
    next = start + 1 + ((count + 1) >> 1);
    check(next <= end, "the weights of a Huffman table");
    for (let i = 0; i < count; i++) {
      const byte = bytes[start + 1 + (i >> 1)];
      weights.push(i & 1 ? byte & 15 : byte >> 4);
    }
  } else {
    next = start + 1 + head;
    check(head > 0 && next <= end, "the weights of a Huffman table");
    const found = readProbabilities(bytes, start + 1, next, 6);
    const { log, symbols, bits, bases } = found.table;
    const stream = new BackwardBits(bytes, found.next, next);
    const states = [stream.read(log), stream.read(log)];
    check(stream.left >= 0, "the weights of a Huffman table");
    for (let which = 0; weights.length < 255; which ^= 1) {
      const state = states[which];
      weights.push(symbols[state]);
      states[which] = bases[state] + stream.read(bits[state]);
      if (stream.left < 0) {
        weights.push(symbols[states[which ^ 1]]);
        break;
      }
    }
  }
  let total = 0;
  for (const w of weights) {
    check(w <= 11, "a Huffman code of at most 11 bits");
    total += w ? 1 << (w - 1) : 0;
  }
  check(total > 0 && weights.length < 256, "a Huffman code");
  const log = highBit(total) + 1;
  const rest = (1 << log) - total;
  check(log <= 11 && (rest & (rest - 1)) === 0, "a complete Huffman code");
  weights.push(highBit(rest) + 1);
  const symbols = new Uint8Array(1 << log);
  const lengths = new Uint8Array(1 << log);
  let at = 0;
  for (let w = 1; w <= log; w++) {
    weights.forEach((weight, symbol) => {
      if (weight !== w) return;
      symbols.fill(symbol, at, at + (1 << (w - 1)));
      lengths.fill(log + 1 - w, at, at + (1 << (w - 1)));
      at += 1 << (w - 1);
    });
  }
  return { table: { log, symbols, lengths }, next };
}

function decodeHuffman(table, bytes, start, end, out, from, count) {
  const { log, symbols, lengths } = table;
  const stream = new BackwardBits(bytes, start, end);
  for (let i = from; i < from + count; i++) {
    const code = stream.peek(log);
    out[i] = symbols[code];
    stream.left -= lengths[code];
  }
  check(stream.left === 0, "literals that use up their stream");
}

/** Literals of a block and the byte behind them. */
function readLiterals(state, bytes, start, end) {
  check(start < end, "the literals of a block");
  const kind = bytes[start] & 3;
  const form = (bytes[start] >> 2) & 3;
  const word = (i) => bytes[start + i] * 2 ** (8 * i);
  if (kind < 2) {
    const headBytes = form === 1 ? 2 : form === 3 ? 3 : 1;
    let size = 0;
    for (let i = 0; i < headBytes; i++) size += word(i);
    size = Math.floor(size / (form & 1 ? 16 : 8));
    const at = start + headBytes;
    check(size <= BLOCK_LIMIT && at + (kind ? 1 : size) <= end, "the literals of a block");
    if (kind === 0) return { literals: bytes.subarray(at, at + size), next: at + size };
    return { literals: new Uint8Array(size).fill(bytes[at]), next: at + 1 };
  }
  const headBytes = form < 2 ? 3 : form + 2;
  const sizeBits = form < 2 ? 10 : form === 2 ? 14 : 18;
  check(start + headBytes <= end, "the head of the literals");
  let head = 0;
  for (let i = 0; i < headBytes; i++) head += word(i);
  head = Math.floor(head / 16);
  const size = head % 2 ** sizeBits;
  const packed = Math.floor(head / 2 ** sizeBits);
  let at = start + headBytes;
  const stop = at + packed;
  check(size <= BLOCK_LIMIT && stop <= end, "the literals of a block");
  if (kind === 2) {
    const found = readHuffman(bytes, at, stop);
    state.huffman = found.table;
    at = found.next;
  }
  check(state.huffman, "a Huffman table before literals that repeat it");
  const literals = new Uint8Array(size);
  if (form === 0) {
    decodeHuffman(state.huffman, bytes, at, stop, literals, 0, size);
  } else {
    check(at + 6 <= stop, "the table of four streams");
    const each = (size + 3) >> 2;
    check(3 * each <= size, "four streams of literals");
    let from = at + 6;
    for (let i = 0; i < 4; i++) {
      const to = i < 3 ? from + (bytes[at + 2 * i] | (bytes[at + 2 * i + 1] << 8)) : stop;
      check(to <= stop, "four streams of literals");
      decodeHuffman(state.huffman, bytes, from, to, literals, i * each, i < 3 ? each : size - 3 * each);
      from = to;
    }
  }
  return { literals, next: stop };
}

const expand = (pairs) => {
  const base = [];
  const bits = [];
  for (const [b, n] of pairs) {
    base.push(b);
    bits.push(n);
  }
  return { base, bits };
};
const range = (count, from) => Array.from({ length: count }, (_, i) => [i + from, 0]);
const withBits = (from, widths) => {
  let base = from;
  return widths.map((n) => {
    const pair = [base, n];
    base += 2 ** n;
    return pair;
  });
};
const LITERAL_LENGTHS = expand([...range(16, 0), ...withBits(16, [1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16])]);
const MATCH_LENGTHS = expand([...range(32, 3), ...withBits(35, [1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16])]);
const DEFAULTS = [
  buildTable([4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1], 6),
  buildTable([1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1], 5),
  buildTable([1, 4, 3, 2, 2, 2, 2, 2, 2, ...new Array(37).fill(1), -1, -1, -1, -1, -1, -1, -1], 6),
];
const MOST_LOGS = [9, 8, 9];
const MOST_SYMBOLS = [35, 31, 52];

/** Tables of literal lengths, offsets and match lengths for a block, and the byte behind them. */
function readTables(state, bytes, start, end) {
  const modes = bytes[start];
  let at = start + 1;
  for (let i = 0; i < 3; i++) {
    const mode = (modes >> (6 - 2 * i)) & 3;
    if (mode === 0) state.tables[i] = DEFAULTS[i];
    else if (mode === 1) {
      check(at < end, "the symbol of a table");
      state.tables[i] = single(bytes[at++]);
    } else if (mode === 2) {
      const found = readProbabilities(bytes, at, end, MOST_LOGS[i]);
      state.tables[i] = found.table;
      at = found.next;
    }
    check(state.tables[i], "a table before one that repeats it");
    check(state.tables[i].symbols.every((s) => s <= MOST_SYMBOLS[i]), "known codes of lengths and offsets");
  }
  return at;
}

function decodeBlock(state, bytes, start, end, out, begin) {
  const { literals, next } = readLiterals(state, bytes, start, end);
  check(next < end, "the head of the sequences");
  let at = next;
  let count = bytes[at++];
  if (count >= 128) {
    check(at + (count === 255 ? 2 : 1) <= end, "the number of sequences");
    if (count === 255) {
      count = bytes[at] + (bytes[at + 1] << 8) + 0x7f00;
      at += 2;
    } else count = ((count - 128) << 8) + bytes[at++];
  }
  let to = begin;
  let used = 0;
  if (count) {
    check(at < end, "the modes of the tables");
    at = readTables(state, bytes, at, end);
    const [lengths, offsets, matches] = state.tables;
    const stream = new BackwardBits(bytes, at, end);
    let a = stream.read(lengths.log);
    let b = stream.read(offsets.log);
    let c = stream.read(matches.log);
    const repeats = state.repeats;
    for (let i = 0; i < count; i++) {
      const offsetCode = offsets.symbols[b];
      const matchCode = matches.symbols[c];
      const lengthCode = lengths.symbols[a];
      const value = 2 ** offsetCode + stream.read(offsetCode);
      const match = MATCH_LENGTHS.base[matchCode] + stream.read(MATCH_LENGTHS.bits[matchCode]);
      const plain = LITERAL_LENGTHS.base[lengthCode] + stream.read(LITERAL_LENGTHS.bits[lengthCode]);
      if (i + 1 < count) {
        a = lengths.bases[a] + stream.read(lengths.bits[a]);
        c = matches.bases[c] + stream.read(matches.bits[c]);
        b = offsets.bases[b] + stream.read(offsets.bits[b]);
      }
      check(stream.left >= 0, "enough bits for the sequences");
      let offset;
      if (value > 3) {
        offset = value - 3;
        repeats.unshift(offset);
        repeats.length = 3;
      } else {
        const which = value - 1 + (plain === 0 ? 1 : 0);
        offset = which === 3 ? repeats[0] - 1 : repeats[which];
        if (which) {
          repeats.splice(which === 3 ? 2 : which, 1);
          repeats.unshift(offset);
        }
      }
      check(used + plain <= literals.length && to + plain + match <= out.length, "sequences within the output");
      for (let j = 0; j < plain; j++) out[to++] = literals[used++];
      check(offset > 0 && offset <= to, "an offset within the output");
      for (let j = 0; j < match; j++, to++) out[to] = out[to - offset];
    }
    check(stream.left === 0, "sequences that use up their stream");
  }
  check(to + literals.length - used <= out.length, "literals within the output");
  out.set(literals.subarray(used), to);
  return to + literals.length - used;
}

/**
 * The content of one frame.
 * @param {Uint8Array} bytes The frame.
 * @param {number} size Bytes that it has to unpack to.
 * @returns {Uint8Array}
 * @throws {FormatError}
 */
export function decompress(bytes, size, file, offset = 0) {
  try {
    return decodeFrame(bytes, size);
  } catch (error) {
    if (!(error instanceof Broken)) throw error;
    throw new FormatError(file, `a zstd frame: ${error.message}`, "damage", offset, "the file may be cut off");
  }
}

function decodeFrame(bytes, size) {
  check(bytes.length >= 6, "its head");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  check(view.getUint32(0, true) === MAGIC, "its mark");
  const descriptor = bytes[4];
  check((descriptor & 8) === 0, "no reserved bit");
  const oneSegment = (descriptor >> 5) & 1;
  const dictionary = [0, 1, 2, 4][descriptor & 3];
  const sizeBytes = [oneSegment, 2, 4, 8][descriptor >> 6];
  let at = 5 + (oneSegment ? 0 : 1);
  check(at + dictionary + sizeBytes <= bytes.length, "its head");
  for (let i = 0; i < dictionary; i++) check(bytes[at + i] === 0, "no dictionary");
  at += dictionary;
  if (sizeBytes) {
    let content = sizeBytes === 2 ? 256 : 0;
    for (let i = 0; i < sizeBytes; i++) content += bytes[at + i] * 2 ** (8 * i);
    check(content === size, `${size} bytes of content`);
  }
  at += sizeBytes;
  const out = new Uint8Array(size);
  const state = { huffman: null, tables: [null, null, null], repeats: [1, 4, 8] };
  let to = 0;
  for (let last = 0; !last; ) {
    check(at + 3 <= bytes.length, "the head of a block");
    const head = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16);
    at += 3;
    last = head & 1;
    const kind = (head >> 1) & 3;
    const length = head >> 3;
    check(kind < 3, "a known kind of block");
    if (kind === 1) {
      check(at < bytes.length && to + length <= size, "a block of one byte");
      out.fill(bytes[at++], to, to + length);
      to += length;
      continue;
    }
    check(length <= BLOCK_LIMIT && at + length <= bytes.length, "a whole block");
    if (kind === 0) {
      check(to + length <= size, "a block within the output");
      out.set(bytes.subarray(at, at + length), to);
      to += length;
    } else to = decodeBlock(state, bytes, at, at + length, out, to);
    at += length;
  }
  check(to === size, `${size} unpacked bytes`);
  return out;
}
