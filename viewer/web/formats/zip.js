/** Members of a zip file: stored or deflated, no encryption, no zip64. */
import { FormatError } from "../errors.js";
import { checkExpansion, inflate, requireBytes } from "./common.js";
import { crc32 } from "./crc32.js";

const END = 0x06054b50;
const ENTRY = 0x02014b50;
const LOCAL = 0x04034b50;

/**
 * @returns {Map<string, () => Promise<Uint8Array>>} By name, what unpacks a member.
 * @throws {FormatError}
 */
export function readZip(bytes, file) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let end = bytes.length - 22;
  const lowest = Math.max(0, end - 65535);
  while (end >= lowest && view.getUint32(end, true) !== END) end--;
  if (end < lowest) throw new FormatError(file, "the end of a zip file", "none", bytes.length, "the file may be cut off");
  const count = view.getUint16(end + 10, true);
  let at = view.getUint32(end + 16, true);
  const members = new Map();
  for (let i = 0; i < count; i++) {
    requireBytes(bytes, at, 46, "an entry of the zip file", file);
    if (view.getUint32(at, true) !== ENTRY) throw new FormatError(file, "an entry of the zip file", "other bytes", at);
    const [flags, method] = [view.getUint16(at + 8, true), view.getUint16(at + 10, true)];
    const [checksum, packed, size] = [16, 20, 24].map((o) => view.getUint32(at + o, true));
    const [nameLength, extra, comment] = [28, 30, 32].map((o) => view.getUint16(at + o, true));
    const local = view.getUint32(at + 42, true);
    requireBytes(bytes, at + 46, nameLength, "a name in the zip file", file);
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + nameLength));
    members.set(name, async () => {
      if (flags & 1 || (method !== 0 && method !== 8)) throw new FormatError(file, "a stored or deflated member", `'${name}' of method ${method}`, local);
      requireBytes(bytes, local, 30, `the head of '${name}'`, file);
      if (view.getUint32(local, true) !== LOCAL) throw new FormatError(file, `the head of '${name}'`, "other bytes", local);
      const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
      const title = bytes.subarray(local + 30, local + 30 + view.getUint16(local + 26, true));
      if (new TextDecoder().decode(title) !== name) throw new FormatError(file, `the head of '${name}'`, "one of another name", local);
      requireBytes(bytes, start, packed, `'${name}'`, file);
      const body = bytes.subarray(start, start + packed);
      checkExpansion(size, bytes.length, file, local);
      const out = method === 0 ? body : await inflate(body, "deflate-raw", size, file, start);
      if (out.length !== size) throw new FormatError(file, `${size} bytes of '${name}'`, String(out.length), start);
      if (crc32(out) !== checksum) throw new FormatError(file, `the right checksum of '${name}'`, "another", start, "get a fresh copy of the file");
      return out;
    });
    at += 46 + nameLength + extra + comment;
  }
  return members;
}
