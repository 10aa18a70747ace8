#!/bin/sh
# Installs what the firmware examples are built and emulated with, on Debian and Ubuntu, where it is not here yet.
set -eu
programs="make gcc arm-none-eabi-gcc qemu-system-arm riscv64-unknown-elf-gcc qemu-system-riscv32 aarch64-linux-gnu-gcc qemu-aarch64"
packages="make gcc libc6-dev gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm gcc-riscv64-unknown-elf
    picolibc-riscv64-unknown-elf qemu-system-misc gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
missing=""
for program in $programs; do
    command -v "$program" >/dev/null || missing="$missing $program"
done
if [ -z "$missing" ]; then
    exit 0
fi
echo "missing:$missing"
if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
    echo "error: install as root on Debian or Ubuntu: apt-get install" $packages >&2
    exit 4
fi
apt-get update -q
apt-get install -qy --no-install-recommends $packages
