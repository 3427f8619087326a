#!/usr/bin/env bash
# Everything that a GPU has to say about this tree, in one call of at most 400 s: see benchmarks/gpu_call.py, or --help.
exec "${PYTHON:-python3}" "$(dirname "$0")/gpu_call.py" "$@"
