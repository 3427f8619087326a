#!/usr/bin/env bash
# Everything that a GPU has to say about this tree, in one call: build, tests, compute-sanitizer, benchmarks, a profile.
#
#   benchmarks/gpu.sh [--dry-run] [--installed] [--only STEPS] [--wheels DIR] OUT
#
# OUT is a folder; it gets summary.json (each step, its result and seconds), environment.txt, bench.json and log.txt.
# Every step has a limit, 9 minutes in all; one that fails or runs out of its time leaves the others to run, and the
# exit code tells. Needs a driver, nvcc, Python with torch, and the packages of pyproject.toml (nothing is downloaded: --wheels names
# a folder of what is missing).
#
#   --dry-run    on a machine without a GPU: the same steps as far as they go, on small inputs, in minutes
#   --installed  test the package that is installed, build nothing
#   --only       some of tests, sanitizer, bench, profile; with commas between
set -uo pipefail
cd "$(dirname "$0")/.."

dry="" installed="" wheels="" out="" only="tests,sanitizer,bench,profile"
while [ $# -gt 0 ]; do
  case "$1" in
    --dry-run) dry=1 ;;
    --installed) installed=1 ;;
    --only) only="${2:?gpu.sh: --only needs names of steps}"; shift ;;
    --wheels) wheels="${2:?gpu.sh: --wheels needs a folder}"; shift ;;
    -*) echo "gpu.sh: unknown option $1" >&2; exit 2 ;;
    *) [ -z "$out" ] || { echo "gpu.sh: one folder, got $out and $1" >&2; exit 2; }; out="$1" ;;
  esac
  shift
done
[ -n "$out" ] || { echo "gpu.sh: needs a folder for the results: benchmarks/gpu.sh [--dry-run] OUT" >&2; exit 2; }
for name in ${only//,/ }; do
  case "$name" in
    tests | sanitizer | bench | profile) ;;
    *) echo "gpu.sh: --only takes tests, sanitizer, bench and profile, got $name" >&2; exit 2 ;;
  esac
done
wanted() { case ",$only," in *",$1,"*) ;; *) return 1 ;; esac; }
mkdir -p "$out" || exit 2
out="$(cd "$out" && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python="${PYTHON:-python3}"
export PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_WAIT_POLICY=passive
export CUDA_MODULE_LOADING=LAZY

have_gpu=""
"$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null && have_gpu=1
if [ -z "$have_gpu" ] && [ -z "$dry" ]; then
  echo "gpu.sh: torch sees no GPU here; --dry-run rehearses without one" >&2
  exit 2
fi

failed=0
: >"$work/steps"
: >"$out/log.txt"
# step NAME SECONDS COMMAND...: its output goes to OUT/log.txt, its end to the screen.
step() {
  local name="$1" limit="$2" begin code result
  shift 2
  begin=$(date +%s.%N)
  timeout -k 10 "$limit" "$@" >"$work/log" 2>&1
  code=$?
  { printf '\n===== %s: %s\n' "$name" "$*"; cat "$work/log"; } >>"$out/log.txt"
  case $code in
    0) result=passed ;;
    124 | 137) result="out of time" ;;
    *) result="failed ($code)" ;;
  esac
  [ $code -eq 0 ] || failed=1
  note "$name" "$result" "$(awk -v a="$begin" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }')"
  tail -n 6 "$work/log" | sed 's/^/    /'
}
note() {
  printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$work/steps"
  printf '== %s: %s, %s s\n' "$1" "$2" "$3"
}

{
  date -u +%FT%TZ
  git rev-parse HEAD 2>/dev/null || echo "no git"
  git status --porcelain --untracked-files=no 2>/dev/null
  uname -srm
  nvidia-smi 2>&1
  nvcc --version 2>&1
  "$python" -VV
  "$python" -m pip list --format=freeze 2>/dev/null
} >"$out/environment.txt" 2>&1

if [ -z "$installed" ]; then
  "$python" -m venv --system-site-packages "$work/env" || exit 2
  # An environment made from another one sees the system's packages, not that one's.
  "$python" -c 'import sys; print("\n".join(p for p in sys.path if "site-packages" in p))' \
    >"$("$work/env/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/outer.pth"
  python="$work/env/bin/python"
  export PATH="$work/env/bin:$PATH"
  if [ -n "$wheels" ]; then
    step wheels 30 "$python" -m pip install -q --no-index --no-deps "$wheels"/*.whl
  fi
  # This machine's card only: three architectures would take three times as long. Ninja and all cores.
  target=90-real
  [ -n "$have_gpu" ] && target=native
  step build 120 "$python" -m pip install -q --no-deps --no-build-isolation . -C cmake.define.HUD_CUDA=ON \
    -C cmake.define.HUD_WERROR=ON -C cmake.define.CMAKE_CUDA_ARCHITECTURES="$target" -C build-dir="$work/build"
fi

# -P: the package that is installed, not the source tree in this folder
suite=("$python" -P -m pytest -q --import-mode=importlib -p no:cacheprovider)

# Triton compiles a kernel at its first call: several processes, where pytest-xdist is there, do so at once.
parallel=()
"$python" -P -c 'import xdist' 2>/dev/null && [ -n "$have_gpu" ] && parallel=(-n 6)

wanted tests && step tests 150 "${suite[@]}" "${parallel[@]}" tests/gpu

if wanted sanitizer; then
  if command -v compute-sanitizer >/dev/null && [ -n "$have_gpu" ]; then
    # torch's own pools of memory would hide a kernel that runs over the end of its array
    export PYTORCH_NO_CUDA_MEMORY_CACHING=1
    for tool in memcheck racecheck; do
      step $tool 45 compute-sanitizer --tool $tool --error-exitcode 9 --target-processes all \
        "${suite[@]}" -m sanitizer tests/gpu
    done
    unset PYTORCH_NO_CUDA_MEMORY_CACHING
  else
    note compute-sanitizer "not here" 0
    step sanitizer-tests 120 "${suite[@]}" -m sanitizer tests/gpu
  fi
fi

if wanted bench; then
  quick=()
  [ -n "$have_gpu" ] && [ -z "$dry" ] || quick=(--quick)
  step bench 105 env HUD_FAST_GPU_KERNELS=1 "$python" -P -m hud_fast bench --gpu "${quick[@]}" --out "$work/bench"
  [ -f "$work/bench/results.json" ] && cp "$work/bench/results.json" "$out/bench.json"
fi

if wanted profile; then
  if command -v ncu >/dev/null && [ -n "$have_gpu" ]; then
    step profile 30 ncu --clock-control none --target-processes all --launch-count 40 \
      --section SpeedOfLight --section Occupancy --section MemoryWorkloadAnalysis \
      "$python" -P -m hud_fast bench --gpu --quick --groups gpu_fcls,gpu_cosine_max,gpu_window_search
  else
    note ncu "not here" 0
  fi
fi

"$python" - "$work/steps" "$out/summary.json" "${dry:-0}" "${have_gpu:-0}" "$(git rev-parse HEAD 2>/dev/null)" <<'PY'
import json, sys

steps = [line.rstrip("\n").split("\t") for line in open(sys.argv[1])]
summary = {
    "command": "benchmarks/gpu.sh",
    "dry run": sys.argv[3] == "1",
    "GPU": sys.argv[4] == "1",
    "commit": sys.argv[5],
    "steps": [{"step": a, "result": b, "seconds": float(c)} for a, b, c in steps],
}
with open(sys.argv[2], "w") as file:
    json.dump(summary, file, indent=1)
    file.write("\n")
PY
exit $failed
