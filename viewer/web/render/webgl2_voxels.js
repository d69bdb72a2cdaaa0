/** A voxel field in the textures of WebGL 2, drawn by a march in the fragment shader. */
import { BLOCK, SIDE } from "./bricks.js";
import { marchShader, MOST_LEVELS, networkRows } from "./voxel_shaders.js";

const TABLE_WIDTH = 1024;
const ROWS_OF_NETWORK = 69;

/** Looks to the page like render/scene.js: `chunks` are a few opaque places as splats, for what looks for the scene's middle. */
export class WebGl2Voxels {
  /** @param {import("../load/load.js").SceneHead} head */
  constructor(gl, head, { onOrder }) {
    this.gl = gl;
    this.head = head;
    this.onOrder = onOrder;
    this.count = 0;
    this.degree = head.degree;
    this.box = null;
    this.chunks = [];
    this.gain = { logScale: 0, opacity: 1 };
    this.sortMs = 0;
    this.textures = null;
  }

  get ready() {
    return this.textures !== null;
  }

  get drawn() {
    return this.textures ? this.head.count : 0;
  }

  /** @param {{count: number, field: object, preview: object}} chunk field: as bricks.js makes it. */
  append(chunk) {
    this.count += chunk.count;
    this.field = chunk.field;
    this.chunks = [chunk.field.preview];
    this.upload();
    this.onOrder();
  }

  restore() {
    if (this.field) this.upload();
  }

  upload() {
    const { gl, field } = this;
    const most = gl.getParameter(gl.MAX_3D_TEXTURE_SIZE);
    this.brickGrid = gridFor(field.bricks, SIDE, most);
    this.tileGrid = gridFor(field.tiles, BLOCK, most);
    const linear = (data) => this.volume(data, this.brickGrid, SIDE, gl.RGBA16F, gl.RGBA, gl.HALF_FLOAT, 4, gl.LINEAR);
    const rows = Math.ceil(field.tables.length / TABLE_WIDTH);
    const table = new Uint32Array(rows * TABLE_WIDTH);
    table.set(field.tables);
    this.textures = {
      channels: field.textures.map(linear),
      cells: this.volume(field.cells, this.tileGrid, BLOCK, gl.R8UI, gl.RED_INTEGER, gl.UNSIGNED_BYTE, 1, gl.NEAREST),
      table: this.sheet(table, TABLE_WIDTH, rows, gl.R32UI, gl.RED_INTEGER, gl.UNSIGNED_INT),
      network: field.network && this.sheet(networkRows(field.network), 4, ROWS_OF_NETWORK, gl.RGBA32F, gl.RGBA, gl.FLOAT),
    };
    if (gl.getError() === gl.OUT_OF_MEMORY) throw new Error(`the GPU has no room for ${field.bricks} blocks of voxels`);
  }

  /** Cubes of side^3 texels, one after the other in `data`, side by side in one texture. */
  volume(data, grid, side, internal, format, type, channels, filter) {
    const { gl } = this;
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_3D, texture);
    gl.texStorage3D(gl.TEXTURE_3D, 1, internal, ...grid.map((n) => n * side));
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_3D, name, filter);
    for (const name of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T, gl.TEXTURE_WRAP_R]) gl.texParameteri(gl.TEXTURE_3D, name, gl.CLAMP_TO_EDGE);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    const each = channels * side ** 3;
    // A slab of cubes at a time: single ones would be many calls, all at once a copy of everything.
    const [nx, ny] = grid;
    const slab = new data.constructor(each * nx * ny);
    for (let z = 0, cube = 0; cube * each < data.length; z++) {
      slab.fill(0);
      for (let y = 0; y < ny; y++) {
        for (let x = 0; x < nx && cube * each < data.length; x++, cube++) {
          for (let c = 0; c < side; c++) {
            for (let b = 0; b < side; b++) {
              const from = cube * each + (c * side + b) * side * channels;
              slab.set(data.subarray(from, from + side * channels), channels * (((c * ny + y) * side + b) * nx + x) * side);
            }
          }
        }
      }
      gl.texSubImage3D(gl.TEXTURE_3D, 0, 0, 0, z * side, nx * side, ny * side, side, format, type, slab);
    }
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 4);
    return texture;
  }

  sheet(data, width, height, internal, format, type) {
    const { gl } = this;
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texStorage2D(gl.TEXTURE_2D, 1, internal, width, height);
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, name, gl.NEAREST);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, width, height, format, type, data);
    return texture;
  }

  get bytes() {
    const { field } = this;
    return field ? field.textures.reduce((sum, data) => sum + data.byteLength, field.cells.byteLength + 4 * field.tables.length) : 0;
  }

  /** What distinguishes the shaders of fields. */
  get kind() {
    return { degree: this.field.degree, contracted: this.field.space.extent === 2 };
  }

  get shader() {
    return marchShader(this.kind);
  }

  /** Binds textures and tells the program all but the camera. */
  bind({ uniforms: u }) {
    const { gl, field, textures } = this;
    const { space } = field;
    let unit = 0;
    const use = (target, texture, name) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(target, texture);
      gl.uniform1i(u[name], unit++);
    };
    textures.channels.forEach((texture, i) => use(gl.TEXTURE_3D, texture, `channels${i}`));
    use(gl.TEXTURE_3D, textures.cells, "cells");
    use(gl.TEXTURE_2D, textures.table, "table");
    if (textures.network) use(gl.TEXTURE_2D, textures.network, "network");
    gl.uniform3fv(u.centre, space.centre);
    gl.uniform3fv(u.inverseHalf, space.half.map((h) => 1 / h));
    for (const [name, value] of Object.entries({ extent: space.extent, stepLength: space.step, tau: space.tau, near: space.near, voxel: space.voxel })) {
      gl.uniform1f(u[name], value);
    }
    gl.uniform3iv(u.size, field.size);
    const count = field.blocks.length / 3;
    gl.uniform3iv(u.blocks, Int32Array.from({ length: 3 * MOST_LEVELS }, (_, i) => field.blocks[i] ?? 0));
    gl.uniform1iv(u.starts, Int32Array.from({ length: MOST_LEVELS + 1 }, (_, i) => field.starts[i] ?? 0));
    gl.uniform1i(u.levels, count);
    gl.uniform1i(u.topLevel, count - 1);
    gl.uniform3iv(u.brickGrid, this.brickGrid);
    gl.uniform3iv(u.tileGrid, this.tileGrid);
    gl.uniform3fv(u.brickScale, this.brickGrid.map((n) => 1 / (n * SIDE)));
  }

  setBudget() {} // of splats

  dispose() {
    const { gl, textures } = this;
    if (textures) [...textures.channels, textures.cells, textures.table, textures.network].forEach((texture) => texture && gl.deleteTexture(texture));
    this.textures = null;
    this.field = null;
    this.chunks = [];
  }
}

/** How `count` cubes are laid out: as evenly as they can be within `most` texels a side. */
function gridFor(count, side, most) {
  const limit = Math.floor(most / side);
  const n = Math.max(1, count);
  if (n > limit ** 3) throw new Error(`${n} blocks of voxels are more than this browser's textures hold`);
  const x = Math.min(limit, Math.ceil(Math.cbrt(n)));
  const y = Math.min(limit, Math.ceil(Math.sqrt(n / x)));
  return [x, y, Math.ceil(n / (x * y))];
}
