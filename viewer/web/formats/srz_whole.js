/** `.srz` files of any kind but 1, which are read as a whole. */
import { bake } from "./srz_bake.js";
import { decodeAnchors } from "./srz_anchors.js";
import { ChunkedFile } from "./srz_chunked.js";
import { readCodebooks } from "./srz_codebooks.js";
import { readVoxels } from "./srz_voxels.js";
import { KINDS, VERSION } from "./srz_head.js";

/** The whole scene; of voxels `field` instead of arrays of splats. @throws {FormatError} */
export function read(bytes, file) {
  const content = new ChunkedFile(bytes, file);
  const { degree, antialiased, metadata, count, kind } = content;
  if (kind === KINDS.voxels || kind === KINDS.mipVoxels) {
    return { format: "srz", version: VERSION, degree, antialiased, metadata, count, shType: "float32", shSpace: "rgb", field: readVoxels(content) };
  }
  const scene = content.kind === KINDS.codebooks ? readCodebooks(content) : bake(decodeAnchors(content));
  const common = { format: "srz", version: VERSION, degree, antialiased, metadata };
  return { ...scene, ...common, shType: "float32", shSpace: "rgb", shSteps: new Float32Array(2 * degree).fill(1) };
}
