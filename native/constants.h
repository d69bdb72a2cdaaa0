// The constants of gsplat's classic rasterisation. scenerep/render/constants.py holds the same values; a test compares them.
#pragma once

namespace scenerep {

constexpr float kLowPass = 0.3f;             // px^2 added to the diagonal of the projected covariance
constexpr float kAlphaMax = 0.999f;          // alpha is cut to this
constexpr float kAlphaMin = 1.0f / 255.0f;   // a smaller alpha is skipped
constexpr float kTransmittanceStop = 1e-4f;  // a pixel ends before its transmittance would fall to this
constexpr float kNear = 0.01f;               // camera z below this is culled
constexpr float kFar = 1e10f;
constexpr float kClamp = 0.3f;               // the Jacobian is taken at most this share of the half view outside the picture

}  // namespace scenerep
