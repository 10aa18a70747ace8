#!/bin/sh
# Builds the engine of this bundle for the GPU of this machine, with NVIDIA's trtexec or TensorRT-RTX's tensorrt_rtx:
# that of the flavor that the bundle was exported for, and where it is missing the other.
#
#   sh build.sh                    Jetson: trtexec of JetPack; desktop: trtexec on the PATH
#   TRTEXEC=/opt/bin/trtexec sh build.sh
#   TRTEXEC=tensorrt_rtx sh build.sh       for TensorRT-RTX
#   DLA_CORE=0 sh build.sh                 on a Jetson's DLA, the GPU taking what it cannot do
#   WORKSPACE_MIB=256 sh build.sh          at most so much scratch memory
#   sh build.sh --skipInference            whatever follows goes to trtexec as it is
#
# Afterwards: python3 run.py --check. Exit codes: 0 ok, 4 no trtexec here, otherwise those of trtexec.
set -eu
cd "$(dirname "$0")"
. ./build.conf

TRTEXEC=${TRTEXEC:-}
classic="trtexec /usr/src/tensorrt/bin/trtexec"
case $FLAVOR in
    rtx) tools="tensorrt_rtx $classic" ;;
    *) tools="$classic tensorrt_rtx" ;;
esac
for found in $tools; do
    if [ -z "$TRTEXEC" ] && command -v "$found" >/dev/null 2>&1; then
        TRTEXEC=$found
    fi
done
if [ -z "$TRTEXEC" ] || ! command -v "$TRTEXEC" >/dev/null 2>&1; then
    echo "error: no trtexec and no tensorrt_rtx here. On a Jetson trtexec comes with JetPack (apt-get install" >&2
    echo "nvidia-jetpack), elsewhere with the TensorRT archive of NVIDIA, and tensorrt_rtx with that of TensorRT-RTX;" >&2
    echo "name it: TRTEXEC=/path/to/trtexec sh build.sh" >&2
    exit 4
fi

case $(basename "$TRTEXEC") in
    tensorrt_rtx*) built=rtx engine=model.rtx.engine other=model.engine ;;
    *) built=classic engine=model.engine other=model.rtx.engine ;;
esac
if [ "$built" != "$FLAVOR" ]; then
    echo "note: this bundle was exported for flavor $FLAVOR; $TRTEXEC makes an engine of flavor $built" >&2
fi

known=$("$TRTEXEC" --help 2>&1 || true)
knows() {
    case $known in *"$1"*) return 0 ;; *) return 1 ;; esac
}

# Releases from 9 on take each tensor's type from the graph; those before, and the DLA, take it from flags.
onnx=$ONNX
set -- --onnx="$onnx" --saveEngine="$engine" "$@"
if [ -n "${DLA_CORE:-}" ] || { knows --int8 && ! knows --stronglyTyped; }; then
    if [ "$PRECISION" = fp16 ]; then
        shift
        set -- --onnx="$FLOAT_ONNX" --fp16 "$@"
    elif [ "$PRECISION" = int8 ]; then
        set -- "$@" --int8 --fp16
    fi
elif knows --stronglyTyped; then
    set -- "$@" --stronglyTyped
fi
if [ -n "${DLA_CORE:-}" ]; then
    set -- "$@" --useDLACore="$DLA_CORE" --allowGPUFallback
fi
if [ -n "${WORKSPACE_MIB:-}" ]; then
    if knows --memPoolSize; then
        set -- "$@" --memPoolSize=workspace:"$WORKSPACE_MIB"
    else
        set -- "$@" --workspace="$WORKSPACE_MIB"
    fi
fi
if [ -n "${HARDWARE_COMPATIBLE:-}" ]; then
    set -- "$@" --hardwareCompatibilityLevel=ampere+
fi
if [ -n "${COMPUTE:-}" ] && knows --computeCapabilities; then
    set -- "$@" --computeCapabilities="$COMPUTE"
fi
# TensorFloat-32 keeps 10 bits, which is no float32.
if [ "$PRECISION" = fp32 ] && knows --noTF32; then
    set -- "$@" --noTF32
fi
if knows --timingCacheFile; then
    set -- "$@" --timingCacheFile=model.timing
fi
if [ -n "$MIN_SHAPES" ]; then
    set -- "$@" --minShapes="$MIN_SHAPES" --optShapes="$OPT_SHAPES" --maxShapes="$MAX_SHAPES"
fi
echo "$TRTEXEC $*" >&2
rm -f "$engine" "$engine.from"
"$TRTEXEC" "$@"
# Of which export it is, for run.py, which shall run what was built last.
sha256sum manifest.json | cut -d" " -f1 >"$engine.from"
rm -f "$other" "$other.from"
