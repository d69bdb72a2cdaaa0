/** SOG version 2 (PlayCanvas) in a zip file; twin of scenerep/io/sog.py. A pixel is a splat, row by row. */
import { FormatError } from "../errors.js";
import { checkExpansion, coefficients, colourOfDc, emptySplats, finite, fromSmallestThree, opacityOfByte } from "./common.js";
import { readWebp } from "./webp.js";
import { readZip } from "./zip.js";

const META = "meta.json";
const PALETTE_WIDTH = 64; // codewords in a row of the palette picture
const FIRST_TAG = 252; // alpha of a rotation: this plus the index of its largest component

/** The whole scene. @throws {FormatError} */
export async function read(bytes, file) {
  const members = readZip(bytes, file);
  const load = async (name) => {
    const member = members.get(name);
    if (!member) throw new FormatError(file, `a part '${name}'`, "none");
    return member();
  };
  const meta = new Meta(await load(META), `${file}: ${META}`);
  const n = meta.integer(meta.content.count, "count", 2 ** 31);
  checkExpansion(n * 56, bytes.length, file);
  const picture = async (group, which, least = n) => {
    const name = meta.name(group, which);
    return readWebp(await load(name), `${file}: ${name}`, least);
  };
  const degree = meta.content.shN ? meta.integer(meta.group("shN").bands, "shN.bands", 3) : 0;
  const scene = {
    format: "sog",
    version: 2,
    degree,
    antialiased: Boolean(meta.content.antialias),
    ...emptySplats(n),
    shType: "float32",
    shSpace: "rgb",
    shSteps: new Float32Array(2 * degree).fill(1),
  };

  const [low, high] = [await picture("means", 0), await picture("means", 1)];
  const [mins, maxs] = [meta.numbers("means", "mins", 3), meta.numbers("means", "maxs", 3)];
  for (let i = 0; i < n; i++) {
    for (let a = 0; a < 3; a++) {
      const log = mins[a] + ((low[4 * i + a] + 256 * high[4 * i + a]) / 65535) * (maxs[a] - mins[a]);
      scene.means[3 * i + a] = Math.sign(log) * Math.expm1(Math.abs(log));
    }
  }
  const rotations = await picture("quats", 0);
  for (let i = 0; i < n; i++) {
    const tag = rotations[4 * i + 3] - FIRST_TAG;
    const t = (c) => (rotations[4 * i + c] / 255 - 0.5) * Math.SQRT2;
    if (tag < 0) scene.quats[4 * i] = 1;
    else fromSmallestThree(scene.quats, i, tag, t(0), t(1), t(2));
  }
  meta.lookUp("scales", await picture("scales", 0), n, scene.logScales);
  const colours = await picture("sh0", 0);
  meta.lookUp("sh0", colours, n, scene.colours);
  for (let i = 0; i < n; i++) scene.opacities[i] = opacityOfByte(colours[4 * i + 3]);
  for (let i = 0; i < 3 * n; i++) scene.colours[i] = colourOfDc(scene.colours[i]);
  if (degree) scene.sh = await palette(meta, picture, n, degree, file);
  return finite(scene);
}

/** float32 [n][k][3] from a palette and a label for each splat. */
async function palette(meta, picture, n, degree, file) {
  const k = coefficients(degree);
  const count = meta.integer(meta.group("shN").count, "shN.count", 65536);
  const pixels = await picture("shN", 0, Math.ceil(count / PALETTE_WIDTH) * PALETTE_WIDTH * k);
  const codewords = new Float32Array(3 * k * count);
  // The width is fixed, so codeword i starts at pixel i k, whatever the row.
  meta.lookUp("shN", pixels, count * k, codewords);
  const labels = await picture("shN", 1);
  const sh = new Float32Array(3 * k * n);
  for (let i = 0; i < n; i++) {
    const label = labels[4 * i] + 256 * labels[4 * i + 1];
    if (label >= count) throw new FormatError(file, `labels below ${count}`, String(label));
    sh.set(codewords.subarray(3 * k * label, 3 * k * (label + 1)), 3 * k * i);
  }
  return sh;
}

/** `meta.json`, every value of which is checked when it is asked for. */
class Meta {
  constructor(bytes, file) {
    this.file = file;
    try {
      this.content = JSON.parse(new TextDecoder().decode(bytes));
    } catch (error) {
      throw new FormatError(file, "JSON", String(error.message));
    }
    const version = this.content?.version;
    if (version !== 2) throw new FormatError(file, "SOG version 2", String(version), null, "convert it with a tool that reads it");
  }

  group(name) {
    const group = this.content[name];
    if (typeof group !== "object" || group === null) throw new FormatError(this.file, `an object '${name}'`, String(group));
    return group;
  }

  integer(value, name, highest) {
    if (!Number.isInteger(value) || value < 0 || value > highest) throw new FormatError(this.file, `${name} from 0 to ${highest}`, String(value));
    return value;
  }

  name(group, which) {
    const name = this.group(group).files?.[which];
    if (typeof name !== "string") throw new FormatError(this.file, `a file name at ${group}.files[${which}]`, String(name));
    return name;
  }

  numbers(group, key, count = null) {
    const values = this.group(group)[key];
    const good = Array.isArray(values) && values.every((v) => typeof v === "number") && (count === null || values.length === count);
    if (!good) throw new FormatError(this.file, `${count ?? "some"} numbers at ${group}.${key}`, JSON.stringify(values)?.slice(0, 60) ?? "none");
    return values;
  }

  /** Values of the group's codebook for the red, green and blue of the first `count` pixels, into `out`. */
  lookUp(group, pixels, count, out) {
    const codebook = Float32Array.from(this.numbers(group, "codebook"));
    for (let i = 0; i < count; i++) {
      for (let c = 0; c < 3; c++) {
        const index = pixels[4 * i + c];
        if (index >= codebook.length) throw new FormatError(this.file, `more than ${index} numbers at ${group}.codebook`, String(codebook.length));
        out[3 * i + c] = codebook[index];
      }
    }
  }
}
