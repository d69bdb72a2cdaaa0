# Sourced by quickstart and test: finds what Debian has to bring, makes the virtual environment, installs scenerep.
# SCENEREP_VENV: where the environment is (default: .venv beside the checkout). PYTHON: the python to make it with.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${SCENEREP_VENV:-$ROOT/.venv}
PYTHON=${PYTHON:-python3}

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $1"; [ -z "${2:-}" ] || say "hint: $2"; exit 1; }

# debian WHAT PACKAGE...: installs Debian packages, or says what to install when we may not.
debian() {
  local what=$1
  shift
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing $* through apt-get ..."
    { apt-get install -y --no-install-recommends "$@" || { apt-get update && apt-get install -y --no-install-recommends "$@"; }; } \
      >/dev/null </dev/null || fail "apt-get could not install $*"
  else
    fail "$what is missing" "sudo apt-get install $*"
  fi
}

have_library() { { ldconfig -p || /sbin/ldconfig -p; } 2>/dev/null | grep -q "$1"; }

system_packages() {
  export DEBIAN_FRONTEND=noninteractive
  command -v "${CXX:-c++}" >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null ||
    debian "a C++ compiler" g++
  command -v "$PYTHON" >/dev/null || debian "python3" python3 python3-venv python3-dev
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "$("$PYTHON" --version) is too old" "scenerep needs Python 3.10 or newer: set PYTHON=/path/to/python3"
  "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || debian "Python's venv module" python3-venv
  "$PYTHON" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
    debian "Python.h" python3-dev
  # open3d and torch load these when they are imported.
  local missing=()
  if [ "$(uname)" = Linux ] && command -v dpkg >/dev/null; then
    have_library libGL.so.1 || missing+=(libgl1)
    have_library libEGL.so.1 || missing+=(libegl1)
    have_library libX11.so.6 || missing+=(libx11-6)
    have_library libgomp.so.1 || missing+=(libgomp1)
    have_library libusb-1.0.so.0 || missing+=(libusb-1.0-0)
    [ ${#missing[@]} = 0 ] || debian "a shared library" "${missing[@]}"
  fi
}

# What the installation depends on; the environment is used as it is while this does not change.
fingerprint() {
  (cd "$ROOT" && cat pyproject.toml CMakeLists.txt constraints/* native/* && printf '%s' "$*") | cksum
}

# install WHAT [PIP OPTION...]: WHAT is `.` or `.[test]`.
install() {
  local what=$1 stamp
  stamp="$VENV/.scenerep-$(printf '%s' "$what" | tr -cd 'a-z')"
  if [ "$(fingerprint "$@")" = "$(cat "$stamp" 2>/dev/null)" ]; then
    return
  fi
  system_packages
  [ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV" || fail "$VENV could not be made"
  say "installing scenerep into $VENV (the first time this takes a few minutes) ..."
  rm -f "$stamp"
  (cd "$ROOT" && "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "${@:2}" -e "$what") ||
    fail "the installation failed" "the reason stands above; to begin afresh, remove $VENV"
  fingerprint "$@" >"$stamp"
}

# node_packages PACKAGE...: npm packages that tests compare with, in .node (SCENEREP_NODE: elsewhere). Without npm, and
# without the right to install it, the tests that need them are skipped.
node_packages() {
  local folder=${SCENEREP_NODE:-$ROOT/.node} stamp
  stamp="$folder/.scenerep"
  [ "$*" = "$(cat "$stamp" 2>/dev/null)" ] && return
  if ! command -v npm >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    debian "npm" nodejs npm
  fi
  if ! command -v npm >/dev/null; then
    say "npm is missing: the tests that compare with $* are skipped"
    say "hint: sudo apt-get install nodejs npm"
    return
  fi
  say "installing $* into $folder ..."
  mkdir -p "$folder"
  if (cd "$folder" && npm install --silent --no-fund --no-audit --no-save --ignore-scripts --prefix . "$@" >/dev/null); then
    printf '%s' "$*" >"$stamp"
  else
    say "npm could not install $*: the tests that compare with it are skipped"
  fi
}

# browser: Chromium and Mesa's software OpenGL for tests/browser. Where we may not install them, those tests are skipped
# and say so (SCENEREP_CHROMIUM: a Chromium or Chrome of your own).
browser() {
  local name missing=()
  if [ -n "${SCENEREP_CHROMIUM:-}" ]; then
    [ -x "$SCENEREP_CHROMIUM" ] || fail "SCENEREP_CHROMIUM=$SCENEREP_CHROMIUM is no program" "give the path of a Chromium"
    return
  fi
  for name in chromium chromium-browser google-chrome google-chrome-stable ""; do
    [ -n "$name" ] || missing+=(chromium)
    ! command -v "$name" >/dev/null || break
  done
  if [ "$(uname)" = Linux ] && command -v dpkg >/dev/null; then
    have_library libEGL_mesa.so.0 || missing+=(libegl-mesa0)
    dpkg -s libgl1-mesa-dri >/dev/null 2>&1 || missing+=(libgl1-mesa-dri)        # llvmpipe: WebGL2
    dpkg -s mesa-vulkan-drivers >/dev/null 2>&1 || missing+=(mesa-vulkan-drivers) # WebGPU
  fi
  [ ${#missing[@]} != 0 ] || return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    if (debian "a browser" "${missing[@]}"); then
      return
    fi
  fi
  say "no browser to test with (${missing[*]} missing): tests/browser is skipped"
  say "hint: sudo apt-get install ${missing[*]}"
}
