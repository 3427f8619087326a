#!/usr/bin/env bash
# Fills one ignored folder with all that has to travel to a machine with a GPU and no network, for benchmarks/gpu.sh:
# wheels of what may be missing there, the package's own wheel compiled for its Python and card, a real scene, the commit.
#
#   PYTHON=python3.12 ARCHITECTURES=90-real HUD_FAST_DATA=DIR benchmarks/gpu_carry.sh [DIR]
#
# DIR is .carry where gpu.sh looks. A wheel of the same sources is kept as it is: to build one takes minutes of nvcc.
set -euo pipefail
cd "$(dirname "$0")/.."
folder="${1:-.carry}"
python="${PYTHON:-python3.12}"
most=$((40 << 20))
mkdir -p "$folder/wheels" "$folder/data/indian_pines"

"$python" -m pip download -q --no-deps --only-binary=:all: -d "$folder/wheels" \
  diffusers==0.42.1 spectral==0.24 pooch==1.9.0 platformdirs

digest="$("$python" -c 'import sys; sys.path.insert(0, "benchmarks"); import gpu_steps; print(gpu_steps.sources_digest())')"
if [ "$(cat "$folder/wheels/sources.sha256" 2>/dev/null)" != "$digest" ]; then
  rm -f "$folder"/wheels/hud_fast-*.whl "$folder/wheels/sources.sha256"
  "$python" -m pip wheel -q --no-deps -w "$folder/wheels" . -C cmake.define.HUD_CUDA=ON \
    -C cmake.define.CMAKE_CUDA_ARCHITECTURES="${ARCHITECTURES:-90-real}" -C build-dir="build/carried-{wheel_tag}"
  echo "$digest" >"$folder/wheels/sources.sha256"
fi

scene="${HUD_FAST_DATA:-../shared/data}/indian_pines"
if ls "$scene"/*.mat >/dev/null 2>&1; then
  cp "$scene"/*.mat "$folder/data/indian_pines/"
else
  echo "gpu_carry.sh: no $scene/*.mat: name the folder of real scenes in HUD_FAST_DATA; going on without" >&2
  rmdir "$folder/data/indian_pines" 2>/dev/null || true
fi
echo "$(git rev-parse HEAD)$([ -z "$(git status --porcelain --untracked-files=no)" ] || echo +)" >"$folder/commit"

size="$(du -sb "$folder" | cut -f1)"
find "$folder" -type f -printf '%s\t%P\n'
echo "$folder: $((size >> 10)) KiB"
[ "$size" -le "$most" ] || { echo "gpu_carry.sh: more than $((most >> 20)) MiB" >&2; exit 1; }
