#!/usr/bin/env bash
# Installs the build into a fresh folder, runs the installed program, and builds and runs a project that uses the installed package.
# With RTL = ON the installed program also builds the RTL of a configuration file, moved elsewhere first.
# Usage: install_test.sh BUILD CONSUMER MODELS RTL
set -euo pipefail
build=$1 consumer=$2 models=$3 rtl=$4
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cmake --install "$build" --prefix "$folder/usr" > "$folder/log"
"$folder/usr/bin/octile" run "$models/resnet_tiny.onnx" --config tiny --device iss,systemc | grep -c 'every step equal' | grep -qx 2

cmake -S "$consumer" -B "$folder/build" -DCMAKE_PREFIX_PATH="$folder/usr" -DCMAKE_BUILD_TYPE=Release > "$folder/log"
cmake --build "$folder/build" > "$folder/log" || { cat "$folder/log"; exit 1; }
for device in iss:tiny systemc:tiny; do
  OCTILE_DEVICE_DIR="$folder/usr/libexec/octile" "$folder/build/consumer" "$models/resnet_tiny.onnx" "$device"
done

if [[ $rtl == ON ]]; then
  mv "$folder/usr" "$folder/moved"
  cat > "$folder/my.yml" <<'END'
arch: {n: 4, weight_rows: 2, ring_tiles: 32, acc_depth: 100, banks: 7, bank_depth: 256, psets: 20, wrows: 64, read_bursts: 4, write_bursts: 2}
END
  XDG_CACHE_HOME="$folder/cache" "$folder/moved/bin/octile" run "$models/mlp.onnx" --config "$folder/my.yml" --device iss,rtl | grep -c 'every step equal' | grep -qx 2
  [[ -x $(echo "$folder"/cache/octile/rtl/octile-device-rtl-*/octile-device-rtl-????????????????) ]]
fi
