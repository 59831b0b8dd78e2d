#!/usr/bin/env bash
# The published experiments at their published sizes: `bash docs/published/run.sh [DATA]`, with DATA a folder of
# TensorFlow Datasets that holds CIFAR-10; without one it is downloaded. An hour on two cores; stopped, it goes on
# where it was. Tables and pictures are kept beside this file.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=${1:+-s data.data_dir=$1}

run() {
  local name=$1 config=$2
  shift 2
  # shellcheck disable=SC2086  # two words, or none
  .venv/bin/phases run "$config" --output "outputs/published/$name" $data "$@"
  cp "outputs/published/$name/critical_constants.csv" "docs/published/$name.csv"
  cp "outputs/published/$name/phase_diagram.png" "docs/published/$name.png"
}

run fcn_mse paper/fcn -s 'sweep.depths=[4,8]' -s sweep.seeds=3
run zero_output paper/zero_output -s sweep.seeds=1
