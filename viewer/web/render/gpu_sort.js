/**
 * Compaction and stable radix sort on the GPU, 8 bits a pass, four passes over the bits of float32 depths.
 *
 * Each pass counts the digits of every tile of keys, sums the counts over the tiles, and moves each key to where its digit
 * begins, plus those of the tiles before, plus those before it in its own tile. Who is before whom in 256 keys is read off bit
 * masks, one of 256 bits for each digit, so the sort is stable and its result does not depend on the order of execution.
 */
import { GROUP } from "./wgsl.js";

const TILE = 1024; // keys of one workgroup, four rounds of 256
const DIGITS = 256;

/** Inclusive sum over the 256 lanes of a workgroup; all of them call it. */
const SUM = `
var<workgroup> sums: array<u32, 256>;
fn inclusive(lane: u32, value: u32) -> u32 {
  sums[lane] = value;
  workgroupBarrier();
  for (var step = 1u; step < 256u; step <<= 1u) {
    var before = 0u;
    if (lane >= step) { before = sums[lane - step]; }
    workgroupBarrier();
    sums[lane] += before;
    workgroupBarrier();
  }
  return sums[lane];
}`;

/** Rows of a table to their exclusive sums, one workgroup a row; totals has the sum of each. lengths[0]: columns in use. */
const SCAN_CODE = `
@group(0) @binding(0) var<storage, read> lengths: array<u32>;
@group(0) @binding(1) var<storage, read_write> table: array<u32>;
@group(0) @binding(2) var<storage, read_write> totals: array<u32>;
${SUM}
@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) rows: vec3u) {
  let start = group.x * (arrayLength(&table) / rows.x);
  let length = lengths[0];
  var carry = 0u;
  for (var first = 0u; first < length; first += 256u) {
    let column = first + lane;
    var value = 0u;
    if (column < length) { value = table[start + column]; }
    let sum = inclusive(lane, value);
    if (column < length) { table[start + column] = carry + sum - value; }
    carry += sums[255];
    workgroupBarrier();
  }
  if (lane == 0u) { totals[group.x] = carry; }
}`;

/** Which of 256 lanes are before this one, of those that set the same bit mask. */
const before = (masks, row) => `
fn before(${row ? "digit: u32, " : ""}lane: u32) -> u32 {
  var rank = countOneBits(atomicLoad(&${masks}[${row ? "8u * digit + " : ""}(lane >> 5u)]) & ((1u << (lane & 31u)) - 1u));
  for (var word = 0u; word < (lane >> 5u); word++) { rank += countOneBits(atomicLoad(&${masks}[${row ? "8u * digit + " : ""}word])); }
  return rank;
}`;

/** Keys and slots of what is drawn, without gaps; inverted depths, so that ascending keys are the farthest first. */
const COMPACT_CODE = `
@group(0) @binding(0) var<storage, read> extent: array<u32>;   // workgroups, splats
@group(0) @binding(1) var<storage, read> depths: array<u32>;
@group(0) @binding(2) var<storage, read> blocks: array<u32>;
@group(0) @binding(3) var<storage, read_write> keys: array<u32>;
@group(0) @binding(4) var<storage, read_write> slots: array<u32>;
var<workgroup> mask: array<atomic<u32>, 8>;
${before("mask", false)}
@compute @workgroup_size(${GROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  var depth = 0u;
  if (id.x < extent[1]) { depth = depths[id.x]; }
  if (depth != 0u) { atomicOr(&mask[lane >> 5u], 1u << (lane & 31u)); }
  workgroupBarrier();
  if (depth != 0u) {
    let to = blocks[group.x] + before(lane);
    keys[to] = ~depth;
    slots[to] = id.x;
  }
}`;

/** What the next dispatches and the draw call take: see ARGUMENTS. */
const ARGUMENTS_CODE = `
@group(0) @binding(0) var<storage, read> totals: array<u32>;
@group(0) @binding(1) var<storage, read_write> arguments: array<u32>;
@compute @workgroup_size(1)
fn main() {
  let count = totals[0];
  arguments[0] = (count + ${TILE - 1}u) / ${TILE}u;
  arguments[1] = 1u;
  arguments[2] = 1u;
  arguments[3] = count;
  arguments[4] = 4u;
  arguments[5] = count;
  arguments[6] = 0u;
  arguments[7] = 0u;
}`;
/** Numbers in the buffer of arguments: where those of the draw call begin, and how many splats are drawn. */
export const ARGUMENTS = { bytes: 32, draw: 16, count: 3 };

const COUNT_CODE = `
@group(0) @binding(0) var<uniform> shift: vec4u;
@group(0) @binding(1) var<storage, read> arguments: array<u32>;
@group(0) @binding(2) var<storage, read> keys: array<u32>;
@group(0) @binding(3) var<storage, read_write> table: array<u32>;   // [digit][tile]
var<workgroup> counts: array<atomic<u32>, ${DIGITS}>;
@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  for (var round = 0u; round < ${TILE / 256}u; round++) {
    let i = group.x * ${TILE}u + 256u * round + lane;
    if (i < arguments[3]) { atomicAdd(&counts[(keys[i] >> shift.x) & 255u], 1u); }
  }
  workgroupBarrier();
  table[lane * (arrayLength(&table) / ${DIGITS}u) + group.x] = atomicLoad(&counts[lane]);
}`;

const MOVE_CODE = `
@group(0) @binding(0) var<uniform> shift: vec4u;
@group(0) @binding(1) var<storage, read> arguments: array<u32>;
@group(0) @binding(2) var<storage, read> keys: array<u32>;
@group(0) @binding(3) var<storage, read> slots: array<u32>;
@group(0) @binding(4) var<storage, read> table: array<u32>;
@group(0) @binding(5) var<storage, read> totals: array<u32>;
@group(0) @binding(6) var<storage, read_write> keysOut: array<u32>;
@group(0) @binding(7) var<storage, read_write> slotsOut: array<u32>;
var<workgroup> masks: array<atomic<u32>, ${8 * DIGITS}>;
var<workgroup> places: array<u32, ${DIGITS}>;   // where the next key of each digit goes
${SUM}
${before("masks", true)}
@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let total = totals[lane];
  places[lane] = inclusive(lane, total) - total + table[lane * (arrayLength(&table) / ${DIGITS}u) + group.x];
  for (var round = 0u; round < ${TILE / 256}u; round++) {
    for (var word = 0u; word < 8u; word++) { atomicStore(&masks[8u * lane + word], 0u); }
    workgroupBarrier();
    let i = group.x * ${TILE}u + 256u * round + lane;
    let here = i < arguments[3];
    var key = 0u;
    if (here) { key = keys[i]; }
    let digit = (key >> shift.x) & 255u;
    if (here) { atomicOr(&masks[8u * digit + (lane >> 5u)], 1u << (lane & 31u)); }
    workgroupBarrier();
    if (here) {
      let to = places[digit] + before(digit, lane);
      keysOut[to] = key;
      slotsOut[to] = slots[i];
    }
    workgroupBarrier();
    var more = 0u;
    for (var word = 0u; word < 8u; word++) { more += countOneBits(atomicLoad(&masks[8u * lane + word])); }
    places[lane] += more;
  }
}`;

/** The pipelines; one for all scenes of a device. */
export class GpuSort {
  /** @param {GPUDevice} device */
  constructor(device) {
    const made = (label, code) => device.createComputePipeline({ label, layout: "auto", compute: { module: device.createShaderModule({ label, code }), entryPoint: "main" } });
    this.device = device;
    this.scan = made("scan", SCAN_CODE);
    this.compact = made("compact", COMPACT_CODE);
    this.arguments = made("arguments", ARGUMENTS_CODE);
    this.count = made("count", COUNT_CODE);
    this.move = made("move", MOVE_CODE);
    this.shifts = [0, 8, 16, 24].map((shift) => {
      const buffer = device.createBuffer({ size: 16, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
      device.queue.writeBuffer(buffer, 0, new Uint32Array([shift, 0, 0, 0]));
      return buffer;
    });
  }

  /**
   * Buffers for up to `capacity` splats. The projection fills `depths` and `blocks`; `slots` is the order, farthest first.
   * @returns {SortBuffers}
   */
  buffers(capacity) {
    const { device } = this;
    const words = (n, usage = 0) => device.createBuffer({ size: 4 * Math.max(n, 4), usage: GPUBufferUsage.STORAGE | usage });
    const tiles = Math.ceil(capacity / TILE);
    const b = {
      extent: words(4, GPUBufferUsage.COPY_DST), depths: words(capacity), blocks: words(Math.ceil(capacity / GROUP)),
      keys: words(capacity), slots: words(capacity), otherKeys: words(capacity), otherSlots: words(capacity),
      table: words(DIGITS * tiles), totals: words(DIGITS), drawn: words(4),
      arguments: words(ARGUMENTS.bytes / 4, GPUBufferUsage.INDIRECT | GPUBufferUsage.COPY_SRC),
    };
    const group = (pipeline, ...entries) => device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: entries.map((buffer, binding) => ({ binding, resource: { buffer } })) });
    const passes = this.shifts.map((shift, pass) => {
      const [keys, slots, keysOut, slotsOut] = pass % 2 ? [b.otherKeys, b.otherSlots, b.keys, b.slots] : [b.keys, b.slots, b.otherKeys, b.otherSlots];
      return {
        count: group(this.count, shift, b.arguments, keys, b.table),
        move: group(this.move, shift, b.arguments, keys, slots, b.table, b.totals, keysOut, slotsOut),
      };
    });
    const groups = {
      blocks: group(this.scan, b.extent, b.blocks, b.drawn), compact: group(this.compact, b.extent, b.depths, b.blocks, b.keys, b.slots),
      arguments: group(this.arguments, b.drawn, b.arguments), table: group(this.scan, b.arguments, b.table, b.totals),
    };
    return { ...b, groups, passes, destroy: () => Object.values(b).forEach((buffer) => buffer.destroy()) };
  }

  /** Commands that order what the projection of `count` splats left; `arguments` are those of the draw call then. */
  encode(pass, sort, count) {
    const blocks = Math.ceil(count / GROUP);
    this.device.queue.writeBuffer(sort.extent, 0, new Uint32Array([blocks, count, 0, 0]));
    const run = (pipeline, group, ...size) => {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      if (size.length) pass.dispatchWorkgroups(...size);
      else pass.dispatchWorkgroupsIndirect(sort.arguments, 0);
    };
    run(this.scan, sort.groups.blocks, 1);
    run(this.compact, sort.groups.compact, blocks);
    run(this.arguments, sort.groups.arguments, 1);
    for (const { count: counting, move } of sort.passes) {
      run(this.count, counting);
      run(this.scan, sort.groups.table, DIGITS);
      run(this.move, move);
    }
  }

  destroy() {
    this.shifts.forEach((buffer) => buffer.destroy());
  }
}
