/** A cell of a splat scene, layer after layer; twin of scenerep/coding/reference/cell.py. */
import { AttributeDecoder, Cell, findNeighbours } from "./attributes.js";
import { mortonOrder } from "./morton.js";
import { decodeOctree, OctreeModels } from "./octree.js";
import { CodingError, RangeDecoder } from "./range.js";

/** What is broken, and in which stream. */
export class StreamError extends Error {
  constructor(stream, message) {
    super(message);
    this.stream = stream;
  }
}

export class CellDecoder {
  /** @param {number} total Splats of all layers of the cell; nothing is allocated by it before positions were decoded. */
  constructor(depth, degree, total) {
    this.total = total;
    this.cell = new Cell(depth, degree);
    this.attributes = new AttributeDecoder(this.cell);
    this.octree = new OctreeModels();
  }

  /**
   * Decodes the next layer from its streams; streams that are left out at the end leave their components 0.
   * @returns {{begin: number, end: number}} Its splats in `cell`.
   * @throws {StreamError}
   */
  push(streams, count, layer) {
    const { cell } = this;
    const begin = cell.count;
    let stream = 0;
    try {
      const order = mortonOrder(cell.x, cell.y, cell.z, begin);
      const sorted = (axis) => Int32Array.from(order, (i) => axis[i]);
      const lower = { x: sorted(cell.x), y: sorted(cell.y), z: sorted(cell.z), count: begin };
      const points = decodeOctree(new RangeDecoder(streams[0]), this.octree, cell.depth, lower, count);
      if (begin === 0) cell.reserve(this.total);
      cell.x.set(points.x, begin);
      cell.y.set(points.y, begin);
      cell.z.set(points.z, begin);
      cell.layer.fill(layer, begin, begin + count);
      cell.count += count;
      findNeighbours(cell, begin);
      for (stream = 1; stream < streams.length; stream++) {
        this.attributes.code(new RangeDecoder(streams[stream]), stream, begin, begin + count);
      }
    } catch (error) {
      if (!(error instanceof CodingError)) throw error;
      throw new StreamError(stream, error.message);
    }
    return { begin, end: begin + count };
  }
}
