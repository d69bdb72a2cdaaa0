/** The constants of rasterisation; scenerep/render/constants.py says what they mean, and a test compares the two. */
export const LOW_PASS = 0.3;
export const ALPHA_MAX = 0.999;
export const ALPHA_MIN = 1 / 255;
export const NEAR = 0.01;
export const FAR = 1e10;
export const CLAMP = 0.3;
