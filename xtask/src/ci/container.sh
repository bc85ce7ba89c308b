#!/usr/bin/env bash
# Builds deploy/Containerfile with buildah, on base images of Debian's packages and the toolchain of this machine, because the
# registry of images may not be reachable. Nothing is optimized.
set -euo pipefail

for program in buildah debootstrap; do
  command -v "$program" >/dev/null && continue
  echo "left out: the container image, because $program is not installed (apt-get install $program)"
  exit 0
done
[ "$(id -u)" = 0 ] || { echo "left out: the container image, because debootstrap needs root"; exit 0; }

folder=$PWD/target/ci/container
sysroot=$(rustc --print sysroot)
registry=${CARGO_HOME:-$HOME/.cargo}/registry
engine() {
  buildah --root "$folder/store" --runroot "$folder/run" --storage-driver vfs "$@"
}
rm -rf "$folder"
mkdir -p "$folder"
trap 'rm -rf "$folder"' EXIT

debootstrap --variant=minbase --include=ca-certificates,gcc,libc6-dev bookworm "$folder/debian" >"$folder/log" ||
  { tail "$folder/log" && exit 1; }
# the authorities of this machine, which may be behind a proxy
cp /etc/ssl/certs/ca-certificates.crt "$folder/debian/etc/ssl/certs/"
base=$(engine from scratch)
engine add --quiet "$base" "$folder/debian" /
rm -rf "$folder/debian"
engine commit --quiet "$base" localhost/debian:bookworm-slim
engine config --env PATH=/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin --env CARGO_HOME=/cargo \
  --env CARGO_PROFILE_RELEASE_LTO=off --env CARGO_PROFILE_RELEASE_OPT_LEVEL=0 --env CARGO_PROFILE_RELEASE_CODEGEN_UNITS=64 \
  "$base"
engine commit --quiet --rm "$base" localhost/rust:1.95-bookworm

engine bud --quiet --isolation chroot --pull-never --volume "$sysroot:/rust:ro" --volume "$registry:/cargo/registry" \
  --build-arg REGISTRY=localhost/ --file deploy/Containerfile --tag guest-gateway .
gateway=$(engine from --pull-never localhost/guest-gateway)
engine run --isolation chroot "$gateway" -- guest-gateway --version
