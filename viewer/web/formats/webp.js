/** Pixels of a lossless WebP picture, exactly as they are stored. */
import { FormatError } from "../errors.js";

const MOST_SIDE = 8192;
let context = null;

/**
 * A canvas would premultiply by alpha and round; a texture that is read back keeps the bytes.
 * @returns {Promise<Uint8Array>} RGBA of all pixels, row by row from the top.
 * @throws {FormatError}
 */
export async function readWebp(bytes, file, least) {
  let picture;
  try {
    picture = await createImageBitmap(new Blob([bytes], { type: "image/webp" }), { premultiplyAlpha: "none", colorSpaceConversion: "none" });
  } catch {
    throw new FormatError(file, "a WebP picture", "bytes that the browser cannot decode", 0);
  }
  const { width, height } = picture;
  if (width > MOST_SIDE || height > MOST_SIDE || width * height < least) {
    picture.close();
    throw new FormatError(file, `a picture of at least ${least} pixels, at most ${MOST_SIDE} a side`, `${width} x ${height}`, 0);
  }
  context ??= new OffscreenCanvas(1, 1).getContext("webgl2");
  if (!context) throw new FormatError(file, "WebGL 2, which reads the picture's pixels", "none in this browser", null, "export the scene as .srz");
  const gl = context;
  const [texture, target] = [gl.createTexture(), gl.createFramebuffer()];
  gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
  gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, picture);
  gl.bindFramebuffer(gl.FRAMEBUFFER, target);
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
  const pixels = new Uint8Array(4 * width * height);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  gl.deleteFramebuffer(target);
  gl.deleteTexture(texture);
  picture.close();
  return pixels;
}
