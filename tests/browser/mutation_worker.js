/** Decodes damaged files one after the other and tells what came of each, and its largest allocation. */
let largest = 0;
for (const name of ["Uint8Array", "Int16Array", "Uint16Array", "Int32Array", "Uint32Array", "Float32Array", "Float64Array", "ArrayBuffer"]) {
  globalThis[name] = new Proxy(globalThis[name], {
    construct(target, given, newTarget) {
      const made = Reflect.construct(target, given, newTarget);
      // A view of another's bytes allocates nothing.
      if (!(given[0] instanceof ArrayBuffer)) largest = Math.max(largest, made.byteLength);
      return made;
    },
  });
}

const { digest, told } = await import("./decoding.js");
const { readWhole } = await import("/formats/detect.js");
const { decodeSplats } = await import("/formats/srz.js");
const { isSrz, KINDS, readStart } = await import("/formats/srz_head.js");

/** Number of splats, digest for .srz, and whether all numbers are finite. */
async function decode(bytes, file) {
  if (isSrz(bytes) && readStart(bytes, file).kind === KINDS.splats) {
    const pieces = decodeSplats(bytes, file).spans.map(({ decoder, begin, end }) => decoder.splats(begin, end));
    return { count: pieces.reduce((sum, { count }) => sum + count, 0), digest: await digest(bytes, file), finite: pieces.every(finite) };
  }
  const scene = await readWhole(bytes, file);
  return { count: scene.count, digest: isSrz(bytes) ? await digest(bytes, file) : null, finite: finite(scene) };
}

const finite = (scene) =>
  [scene.means, scene.logScales, scene.quats, scene.opacities, scene.colours, scene.sh ?? []].every((array) => array.every(Number.isFinite));

self.onmessage = async ({ data: { bytes, file } }) => {
  largest = 0;
  let outcome;
  try {
    outcome = await decode(bytes, file);
  } catch (error) {
    outcome = { error: told(error) };
  }
  self.postMessage({ ...outcome, largest });
};
self.postMessage("ready");
