/** A scene in the textures of WebGL 2, and the order in which its splats are drawn. */
import { geometryOf, importance, paddedSh, Scene } from "./scene.js";
import { Sorter } from "./sorter.js";

const PER_ROW = 256;
const PER_PAGE = PER_ROW * 256; // splats of one layer of the texture arrays
const GEOMETRY = 4; // texels a splat: see geometryOf

export class WebGl2Scene extends Scene {
  /**
   * @param {WebGL2RenderingContext} gl
   * @param {import("../load/load.js").SceneHead} head
   * @param {{onOrder: () => void, turn: () => Promise<void>}} options onOrder: there is a new order to draw by. turn: resolves
   *   when the GPU takes megabytes without making the page wait.
   */
  constructor(gl, head, { onOrder, turn }) {
    super(head);
    this.gl = gl;
    this.order = null;
    this.drawn = 0;
    this.sortMs = 0;
    this.sorter = new Sorter(head.count, async (order, { milliseconds }) => {
      await turn();
      if (!this.indices) return; // closed by now
      this.setOrder(order);
      this.sortMs = milliseconds;
      onOrder();
    });
    this.allocate();
  }

  /** Texels of four numbers that the SH of a splat take. */
  get shTexels() {
    return Math.ceil(this.shWidth / 4);
  }

  /** Whether there is something to draw. */
  get ready() {
    return this.drawn > 0;
  }

  /** Bytes of GPU memory. */
  get bytes() {
    const sh = this.shTexels * 4 * (this.integers ? 2 : 4);
    return this.pages * PER_PAGE * (GEOMETRY * 16 + sh) + this.count * (4 + 64);
  }

  allocate() {
    const { gl, head } = this;
    this.pages = Math.max(1, Math.ceil(head.count / PER_PAGE));
    const most = gl.getParameter(gl.MAX_ARRAY_TEXTURE_LAYERS);
    if (this.pages > most) throw new Error(`${head.count} splats are more than this browser's ${most * PER_PAGE}`);
    const texture = (width, format) => {
      const made = gl.createTexture();
      gl.bindTexture(gl.TEXTURE_2D_ARRAY, made);
      gl.texStorage3D(gl.TEXTURE_2D_ARRAY, 1, format, width, PER_PAGE / PER_ROW, this.pages);
      gl.texParameteri(gl.TEXTURE_2D_ARRAY, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
      gl.texParameteri(gl.TEXTURE_2D_ARRAY, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
      return made;
    };
    this.geometry = texture(GEOMETRY * PER_ROW, gl.RGBA32F);
    this.sh = this.shTexels ? texture(this.shTexels * PER_ROW, this.integers ? gl.RGBA16I : gl.RGBA32F) : null;
    this.indices = gl.createBuffer();
    this.projected = gl.createBuffer();
    this.capacity = 0;
    this.checked = false; // whether there was room: asking at once would wait for the GPU
  }

  /** Adds a chunk of splats; they are drawn from the next order on. */
  append(chunk) {
    super.append(chunk);
    this.sorter.add(chunk.means, importance(chunk));
  }

  upload(chunk, first) {
    const { gl } = this;
    if (!this.checked && gl.getError() === gl.OUT_OF_MEMORY) throw new Error(`the GPU has no room for ${this.head.count} splats`);
    this.checked = true;
    this.fill(this.geometry, GEOMETRY, gl.RGBA, gl.FLOAT, geometryOf(chunk), first, chunk.count);
    if (!this.sh) return;
    const padded = paddedSh(chunk, this.shWidth, 4 * this.shTexels);
    this.fill(this.sh, this.shTexels, this.integers ? gl.RGBA_INTEGER : gl.RGBA, this.integers ? gl.SHORT : gl.FLOAT, padded, first, chunk.count);
  }

  /** Splats first .. first + count of a texture array, row by row where they do not fill whole ones. */
  fill(texture, texels, format, type, data, first, count) {
    const { gl } = this;
    gl.bindTexture(gl.TEXTURE_2D_ARRAY, texture);
    let done = 0;
    while (done < count) {
      const at = first + done;
      const column = at % PER_ROW;
      const row = Math.floor(at / PER_ROW) % (PER_PAGE / PER_ROW);
      const left = count - done;
      let rows = 1;
      let columns = Math.min(PER_ROW - column, left);
      if (column === 0 && left >= PER_ROW) {
        rows = Math.min(Math.floor(left / PER_ROW), PER_PAGE / PER_ROW - row);
        columns = PER_ROW;
      }
      gl.texSubImage3D(
        gl.TEXTURE_2D_ARRAY, 0, column * texels, row, Math.floor(at / PER_PAGE), columns * texels, rows, 1, format, type, data, 4 * texels * done,
      );
      done += rows * columns;
    }
  }

  setBudget(most) {
    this.sorter.setBudget(most);
  }

  /** @param {Uint32Array} order Farthest first. */
  setOrder(order) {
    const { gl } = this;
    this.order = order;
    this.drawn = order.length;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.indices);
    if (order.length > this.capacity) {
      this.capacity = Math.min(this.head.count, Math.max(order.length, 2 * this.capacity));
      gl.bufferData(gl.ARRAY_BUFFER, 4 * this.capacity, gl.DYNAMIC_DRAW);
      gl.bindBuffer(gl.ARRAY_BUFFER, this.projected);
      gl.bufferData(gl.ARRAY_BUFFER, 64 * this.capacity, gl.DYNAMIC_COPY);
      gl.bindBuffer(gl.ARRAY_BUFFER, this.indices);
    }
    gl.bufferSubData(gl.ARRAY_BUFFER, 0, order);
    gl.bindBuffer(gl.ARRAY_BUFFER, null);
  }

  restore() {
    super.restore();
    if (this.order) this.setOrder(this.order);
  }

  dispose() {
    const { gl } = this;
    this.sorter.dispose();
    [this.geometry, this.sh].forEach((texture) => texture && gl.deleteTexture(texture));
    [this.indices, this.projected].forEach((buffer) => gl.deleteBuffer(buffer));
    this.indices = null;
    super.dispose();
  }
}
