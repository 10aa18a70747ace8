#!/bin/sh
# Installs what the firmware examples are built and emulated with, on Debian and Ubuntu, where it is not here yet.
set -eu
programs="make gcc arm-none-eabi-gcc qemu-system-arm riscv64-unknown-elf-gcc qemu-system-riscv32 aarch64-linux-gnu-gcc qemu-aarch64"
# Of each compiler a file of the C library that its examples link, which is a package of its own.
libraries="gcc:crt1.o arm-none-eabi-gcc:nano.specs riscv64-unknown-elf-gcc:picolibc.specs aarch64-linux-gnu-gcc:libc.a"
packages="make gcc libc6-dev gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm gcc-riscv64-unknown-elf
    picolibc-riscv64-unknown-elf qemu-system-misc gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"

# What is not here, each after a space.
missing() {
    for program in $programs; do
        command -v "$program" >/dev/null || printf ' %s' "$program"
    done
    for library in $libraries; do
        compiler=${library%%:*}
        file=${library#*:}
        if command -v "$compiler" >/dev/null; then
            # A path where the compiler finds the file, its bare name where it does not.
            case $("$compiler" -print-file-name="$file") in
                */*) ;;
                *) printf ' %s of %s' "$file" "$compiler" ;;
            esac
        fi
    done
}

absent=$(missing)
if [ -z "$absent" ]; then
    exit 0
fi
echo "missing:$absent"
if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
    echo "error: install as root on Debian or Ubuntu: apt-get install" $packages >&2
    exit 4
fi
apt-get update -q
apt-get install -qy --no-install-recommends $packages
absent=$(missing)
if [ -n "$absent" ]; then
    echo "error: all packages are installed, and still missing:$absent. Does another program of that name come first in PATH?" >&2
    exit 4
fi
