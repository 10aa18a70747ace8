#!/bin/sh
# check.sh FRAMES COMMAND...: the command segments each picture of a folder; its masks must be those beside them.
set -eu
frames=$1
shift
out=$(mktemp)
trap 'rm -f "$out"' EXIT
count=0
for picture in "$frames"/*.picture.pnm; do
    "$@" "$picture" "$out"
    cmp "$out" "${picture%.picture.pnm}.mask.pgm"
    count=$((count + 1))
done
echo "$*: $count masks are the integer reference's, byte for byte"
