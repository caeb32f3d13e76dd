#!/usr/bin/env bash
# Installs the build into a fresh folder, runs the installed program, and builds and runs a project that uses the installed package.
# Usage: install_test.sh BUILD CONSUMER MODELS
set -euo pipefail
build=$1 consumer=$2 models=$3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cmake --install "$build" --prefix "$folder/usr" > "$folder/log"
"$folder/usr/bin/octile" run "$models/resnet_tiny.onnx" --config tiny --device iss,systemc | grep -c 'every step equal' | grep -qx 2

cmake -S "$consumer" -B "$folder/build" -DCMAKE_PREFIX_PATH="$folder/usr" -DCMAKE_BUILD_TYPE=Release > "$folder/log"
cmake --build "$folder/build" > "$folder/log" || { cat "$folder/log"; exit 1; }
for device in iss:tiny systemc:tiny; do
  OCTILE_DEVICE_DIR="$folder/usr/libexec/octile" "$folder/build/consumer" "$models/resnet_tiny.onnx" "$device"
done
