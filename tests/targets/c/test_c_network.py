"""Whole networks in C against the integer reference, and what the written files promise."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from kernel_library import KERNELS, SANITIZERS, SOURCES, WARNINGS, run
from networks import ByRows, Compiled, Made, compile_network, pictures, quantized_graph, small_graph, write_files
from numpy.typing import NDArray
from runtimes import one_op

from lawder_edge.bundle.processing import prob_to_size, probabilities, to_mask
from lawder_edge.errors import BadInput
from lawder_edge.graph.ir import (
    Concat,
    Conv2D,
    Graph,
    Logistic,
    MaxPool2D,
    Op,
    Pad,
    Quantization,
    Relu,
    Reshape,
    Tensor,
)
from lawder_edge.graph.reference import dequantize
from lawder_edge.graph.reference import run as run_reference
from lawder_edge.targets.c.names import RESERVED, identifier, literal
from lawder_edge.targets.c.network import RowByRow, write
from lawder_edge.targets.c.probability import probability_table, reference_mask
from lawder_edge.targets.c.records import LAYOUTS, size_of

PICTURE = Quantization.of(1 / 128, 0)
ROW_BY_ROW: tuple[RowByRow, ...] = ("never", "always", "needed")
NETWORKS = [
    ("order", (64, 64), 3, 1), ("mk_order", (64, 96), 3, 1), ("mk_unet_t", (64, 64), 3, 1),
    ("mk_unet_t", (96, 64), 1, 3), ("unet", (64, 64), 3, 2), ("unet", (32, 96), 3, 1),
]  # fmt: skip


def check_trace(compiled: Compiled, picture: NDArray[np.uint8], *, every: bool) -> None:
    """Each operator's output that is whole in memory, the logits and the mask. every: that are all."""
    graph = compiled.graph
    expected = compiled.expected(picture)
    computed = compiled.source.graph.ops
    seen, mask = compiled.trace(picture)
    assert len(computed) - 1 in seen
    assert not every or list(seen) == [*range(len(computed))]
    for number, found in seen.items():
        op = computed[number]
        name = op.outputs[0]
        np.testing.assert_array_equal(found, expected[name], err_msg=f"{op.kind} {name} of {op.source}")
    logits = np.zeros(graph.tensor(graph.outputs[0]).shape, np.int8)
    assert compiled.call("logits", picture, logits) == 0
    np.testing.assert_array_equal(logits, expected[graph.outputs[0]])
    np.testing.assert_array_equal(mask, reference_mask(graph, picture, 0.5))
    by_rows = ByRows(compiled, picture)
    assert (by_rows.status, by_rows.is_inside) == (0, True)
    np.testing.assert_array_equal(by_rows.mask, mask)
    assert by_rows.rows("read") == [*range(picture.shape[0])]
    assert by_rows.rows("write") == [*range(mask.shape[0])]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size", "channels", "classes"), NETWORKS)
def test_every_operator_of_a_network_gives_the_references_bits(
    name: str, size: tuple[int, int], channels: int, classes: int, tmp_path: Path, needs_gcc: None
) -> None:
    """Operator by operator and row by row, here and under the sanitisers in a process of its own."""
    graph = quantized_graph(name, size, channels=channels, classes=classes)
    arenas = []
    for row_by_row in ROW_BY_ROW:
        compiled = compile_network(graph, tmp_path, *WARNINGS, row_by_row=row_by_row)
        for picture in pictures(graph, 2):
            check_trace(compiled, picture, every=row_by_row == "never")
        run_sanitised(graph, tmp_path)
        arenas.append(compiled.source.plan.arena_bytes)
    assert arenas[2] <= arenas[1] < arenas[0]


def run_sanitised(graph: Graph, folder: Path) -> None:
    """The example program on one picture, its arena of exactly the size that is needed."""
    from lawder_edge.targets.c.example import pnm

    picture = pictures(graph, 1)[0]
    (folder / "picture.pnm").write_bytes(pnm(picture))
    program = compile_program(folder, *SANITIZERS)
    run([str(program), str(folder / "picture.pnm"), str(folder / "mask.pgm")])
    assert (folder / "mask.pgm").read_bytes() == pnm(reference_mask(graph, picture, 0.5)[:, :, None])


def compile_program(folder: Path, *flags: str, compiler: str = "gcc") -> Path:
    main = KERNELS.parents[3] / "export" / "c" / "main.c"
    out = folder / "segment"
    run([
        compiler, "-std=c99", *WARNINGS, *flags, f"-I{KERNELS}", f"-I{folder}", str(main), str(folder / "net.c"),
        *map(str, SOURCES), "-o", str(out),
    ])  # fmt: skip
    return out


@pytest.mark.parametrize("classes", [1, 4])
def test_a_network_of_an_odd_size_gives_the_references_bits(classes: int, tmp_path: Path, needs_gcc: None) -> None:
    graph = small_graph(classes=classes)
    for row_by_row in ROW_BY_ROW:
        compiled = compile_network(graph, tmp_path, *WARNINGS, row_by_row=row_by_row)
        for picture in pictures(graph, 20):
            check_trace(compiled, picture, every=row_by_row == "never")
        run_sanitised(graph, tmp_path)


def with_op(attributes: object, shape: tuple[int, ...], *, extra: int = 0) -> Graph:
    """A picture (1, 4, 6, 2) -> one operator that is no convolution, and back to a map where it gives none."""
    image = Tensor("image", (1, 4, 6, 2), "int8", PICTURE)
    inputs = ("image",) * (1 + extra)
    tensors = [image, Tensor("y", shape, "int8", PICTURE)]
    ops = [Op(attributes, inputs, ("y",))]  # type: ignore[arg-type]
    output = "y"
    if len(shape) != 4:
        tensors.append(Tensor("z", (1, 4, 6, 2), "int8", PICTURE))
        ops.append(Op(Reshape(), ("y",), ("z",)))
        output = "z"
    return Graph("one", tuple(tensors), tuple(ops), ("image",), (output,))


@pytest.mark.parametrize(
    "graph",
    [
        with_op(Relu(), (1, 4, 6, 2)),
        with_op(MaxPool2D((2, 2), (2, 2)), (1, 2, 3, 2)),
        with_op(Concat(3), (1, 4, 6, 4), extra=1),
        with_op(Concat(1), (1, 8, 6, 2), extra=1),
        with_op(Reshape(), (1, 24, 2)),
    ],
    ids=["relu", "pool", "channels twice", "rows twice", "reshape"],
)
def test_pictures_may_go_into_any_operator_and_come_out_of_any(graph: Graph, tmp_path: Path, needs_gcc: None) -> None:
    for row_by_row in ROW_BY_ROW:
        compiled = compile_network(graph, tmp_path, *WARNINGS, row_by_row=row_by_row)
        for picture in pictures(graph, 3):
            check_trace(compiled, picture, every=row_by_row == "never")


@pytest.mark.parametrize("window", [(1, 3), (1, 1)])
def test_border_above_a_map_of_one_row_is_border_row_by_row_too(
    window: tuple[int, int], tmp_path: Path, needs_gcc: None
) -> None:
    made = Made(1, 8)
    side = window[1] // 2
    around = made.add(Pad(((0, 0), (1, 1), (side, side), (0, 0))), "image")
    wide = made.add(Conv2D("valid"), around, shape=(4, *window))
    graph = made.graph(made.add(Conv2D(), wide, shape=(1, 1, 1)))
    for row_by_row in ROW_BY_ROW:
        compiled = compile_network(graph, tmp_path, *WARNINGS, row_by_row=row_by_row)
        for picture in pictures(graph, 3):
            check_trace(compiled, picture, every=row_by_row == "never")


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("language", [("c99", "c"), ("c11", "c"), ("c++11", "c++"), ("c++17", "c++")])
def test_all_files_compile_without_a_warning(compiler: str, language: tuple[str, str], tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} here; apt-get install {compiler}")
    write_files(small_graph(), tmp_path)
    main = KERNELS.parents[3] / "export" / "c" / "main.c"
    for source in (*SOURCES, tmp_path / "net.c", main):
        run([
            compiler, "-x", language[1], f"-std={language[0]}", *WARNINGS, "-O2", f"-I{KERNELS}", f"-I{tmp_path}",
            "-c", str(source), "-o", str(tmp_path / "out.o"),
        ])  # fmt: skip


def test_kernels_and_network_need_no_library_and_hold_no_variable(tmp_path: Path, needs_gcc: None) -> None:
    write_files(small_graph(), tmp_path)
    for source in (*SOURCES, tmp_path / "net.c"):
        out = tmp_path / "out.o"
        run([
            "gcc", "-std=c99", "-Os", "-fno-pic", "-fno-builtin", "-fno-stack-protector", f"-I{KERNELS}", "-c",
            str(source), "-o", str(out),
        ])  # fmt: skip
        symbols = [line.split()[-2:] for line in run(["nm", str(out)]).stdout.splitlines()]
        undefined = {name for kind, name in symbols if kind == "U"}
        # Compilers call memset by themselves; the C standard has it on bare metal, too.
        others = undefined - {"_GLOBAL_OFFSET_TABLE_", "memset"}
        assert all(name.startswith("lw_") for name in others), others
        assert not [name for kind, name in symbols if kind in "bBdD"], "a variable"
        assert not re.search(r"\b(float|double|malloc)\b", source.read_text())


def test_a_function_of_the_same_name_takes_a_kernels_place(tmp_path: Path, needs_gcc: None) -> None:
    graph = small_graph()
    write_files(graph, tmp_path)
    (tmp_path / "mine.c").write_text(
        '#include "lawder_kernels.h"\n#include <stdlib.h>\n'
        "void lw_max_pool2d_row(const lw_pool_params *p, const int8_t *const *rows, int8_t *y)\n"
        "{ (void)p; (void)rows; (void)y; exit(42); }\n"
    )
    main = KERNELS.parents[3] / "export" / "c" / "main.c"
    files = [main, tmp_path / "net.c", tmp_path / "mine.c", *SOURCES]
    run(["gcc", f"-I{KERNELS}", f"-I{tmp_path}", *map(str, files), "-o", str(tmp_path / "segment")])
    from lawder_edge.targets.c.example import pnm

    (tmp_path / "p.ppm").write_bytes(pnm(pictures(graph, 1)[0]))
    command = [str(tmp_path / "segment"), str(tmp_path / "p.ppm"), str(tmp_path / "m.pgm")]
    assert subprocess.run(command, check=False).returncode == 42


def test_the_header_holds_the_hash_of_the_source() -> None:
    import hashlib

    (name, source), (_, header), _ = write(small_graph(), name="net", version="1").files
    assert name == "net.c"
    assert f'#define LW_NET_SHA256 "{hashlib.sha256(source.encode()).hexdigest()}"' in header


def test_the_same_graph_gives_the_same_text_and_other_weights_another_hash() -> None:
    first, again = (write(small_graph(), name="net", version="1") for _ in range(2))
    assert first.files == again.files
    assert write(small_graph(classes=2), name="net", version="1").files[1] != first.files[1]


@pytest.mark.parametrize("threshold", [0.001, 0.2, 0.5, 0.7301, 0.999])
@pytest.mark.parametrize("scale", [0.001, 0.03, 0.2, 2.0])
@pytest.mark.parametrize("zero_point", [-128, -3, 100, 127])
def test_bytes_at_the_threshold_are_exactly_the_bundles_mask(threshold: float, scale: float, zero_point: int) -> None:
    logits = Tensor("logits", (1, 1, 256, 1), "int8", Quantization.of(scale, zero_point))
    table, cut = probability_table(logits, threshold)
    share = probabilities(dequantize(np.arange(-128, 128, dtype=np.int8), logits).reshape(1, 1, 1, 256))[0, 0]
    np.testing.assert_array_equal(table >= cut, to_mask(prob_to_size(share, (1, 256)), threshold)[0])
    assert np.abs(table / 255 - share[0]).max() <= 1.5 / 255
    assert (np.diff(table.astype(int)) >= 0).all()


def test_a_graph_that_takes_no_picture_is_refused() -> None:
    q = Quantization.of(0.1, 4)
    with pytest.raises(BadInput, match=r"takes int8 of .*camera's bytes less 128"):
        write(one_op(Logistic(), [Tensor("x", (1, 2, 2, 1), "int8", q)], (1, 2, 2, 1), Quantization.of(1 / 256, -128)),
              name="net", version="1")  # fmt: skip
    with pytest.raises(BadInput, match=r"gives int8 of \(1, 4, 2\)"):
        write(one_op(Reshape(), [Tensor("x", (1, 2, 2, 2), "int8", PICTURE)], (1, 4, 2), PICTURE),
              name="net", version="1")  # fmt: skip


@pytest.mark.parametrize("name", ["", "double", "Class", "3d", "_", "漢"])
def test_names_that_c_does_not_take_are_refused(name: str) -> None:
    with pytest.raises(BadInput, match="wanted one that starts with a letter"):
        identifier(name)


def test_names_become_identifiers() -> None:
    assert identifier("tests:Tiny") == "tests_tiny"
    assert identifier("__my--net.v2") == "my_net_v2"
    assert {"double", "restrict", "class", "_Bool"} <= RESERVED


def test_the_smallest_int32_is_written_as_no_literal_can_be() -> None:
    assert literal(-(2**31), "int32_t") == "INT32_MIN"
    assert literal(2**32 - 1, "uint32_t") == "4294967295u"


def test_sizes_of_structures_are_those_of_a_32_bit_target(tmp_path: Path) -> None:
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("no arm-none-eabi-gcc here; apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi")
    lines = [f"typedef char right_{name}[sizeof({name}) == {size_of(name)} ? 1 : -1];" for name in LAYOUTS]
    (tmp_path / "sizes.c").write_text('#include "lawder_kernels.h"\n' + "\n".join(lines))
    run(["arm-none-eabi-gcc", f"-I{KERNELS}", "-c", str(tmp_path / "sizes.c"), "-o", str(tmp_path / "sizes.o")])


def test_the_reference_mask_has_the_most_probable_class() -> None:
    graph = small_graph(classes=4)
    picture = pictures(graph, 1)[0]
    (q,) = run_reference(graph, [(picture ^ 0x80).view(np.int8)[None]])
    np.testing.assert_array_equal(reference_mask(graph, picture, 0.5), q[0].argmax(-1))
