/** Which format a file has, by its content. */
import { FormatError } from "../errors.js";
import { parseHeader } from "./ply_header.js";
import { isCompressed } from "./compressed_ply.js";
import { isSrz } from "./srz_head.js";
import { looksLike } from "./splat.js";

const starts = (bytes, ...marks) => marks.some((mark) => [...mark].every((c, i) => bytes[i] === c.charCodeAt(0)));

/**
 * @param {Uint8Array} bytes The whole file.
 * @returns {"srz"|"ply"|"compressed.ply"|"spz"|"sog"|"splat"}
 * @throws {FormatError}
 */
export function detect(bytes, file) {
  if (isSrz(bytes)) return "srz";
  if (starts(bytes, "ply\n", "ply\r")) return isCompressed(parseHeader(bytes, file)) ? "compressed.ply" : "ply";
  if (starts(bytes, "NGSP", "\x1f\x8b")) return "spz";
  if (starts(bytes, "PK\x03\x04")) return "sog";
  if (starts(bytes, "glTF")) throw new FormatError(file, "a splat scene that this page reads", "a glTF file", 0, "`scenerep export` makes a .ply or .srz of it");
  if (looksLike(bytes)) return "splat";
  throw new FormatError(file, "a scene: .srz, .ply, .spz, .sog or .splat", bytes.length ? "other bytes" : "an empty file", 0);
}

const READERS = {
  srz: () => import("./srz_whole.js"),
  ply: () => import("./ply.js"),
  "compressed.ply": () => import("./compressed_ply.js"),
  spz: () => import("./spz.js"),
  sog: () => import("./sog.js"),
  splat: () => import("./splat.js"),
};

/** The scene of a file of any format; of .srz, all kinds but 1. @throws {FormatError} */
export async function readWhole(bytes, file) {
  const reader = await READERS[detect(bytes, file)]();
  return reader.read(bytes, file);
}
