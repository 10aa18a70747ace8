"""The generator that the package carries, and the form in which it does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from synth_samples import TINY

from lawder_edge.errors import BadCheckpoint
from lawder_edge.synthesis.generator import (
    BUNDLED,
    Generator,
    GeneratorRecord,
    generator_file,
    load_generator,
    pack_generator,
    read_generator,
    save_generator,
)


def test_every_carried_generator_has_at_most_8_mb_and_a_card_that_names_its_weights() -> None:
    files = sorted(BUNDLED.glob("*.safetensors"))
    assert [f.stem for f in files] == ["polyp128"]
    for file in files:
        assert file.stat().st_size <= 8_000_000
        assert read_generator(file).sha256[:16] in file.with_suffix(".md").read_text()


def test_the_carried_generator_draws_polyps_of_128_pixels_by_laws_weights() -> None:
    loaded = load_generator(generator_file("polyp128"))
    config = loaded.record.config
    assert (config.arm, config.size, config.in_channels, config.num_classes) == ("law", 128, 3, 1)
    assert {id.split("/")[0] for id in loaded.record.train_ids} == {"kvasir-seg", "cvc-clinicdb"}
    assert len(loaded.record.train_ids) == len(loaded.mask_shapes[:, 0].unique()) == 1450


@pytest.mark.realdata
def test_the_carried_generator_saw_no_picture_of_a_test_list(real_data: Path) -> None:
    seen = set(load_generator(generator_file("polyp128")).record.train_ids)
    for name in ("pranet_test_kvasir_100.txt", "pranet_test_clinicdb_62.txt"):
        listed = (real_data / "splits" / name).read_text().split()
        assert listed
        assert not seen & set(listed)


def test_a_packed_generator_is_half_as_large_and_expects_the_same_picture(tmp_path: Path) -> None:
    torch.manual_seed(0)
    generator = Generator(TINY)
    assert generator.weighter is not None
    # Beyond float16.
    generator.weighter.seen[0] = 70_001
    shapes = torch.rand(3, 5)
    record = GeneratorRecord(TINY, 20, ("a/b",), ("c",))
    file, packed = tmp_path / "generator.safetensors", tmp_path / "packed.safetensors"
    save_generator(file, generator.denoiser.state_dict(), record, weighter=generator.weighter, mask_shapes=shapes)
    found = pack_generator(file, packed)
    assert found.record == record
    assert packed.stat().st_size < 0.6 * file.stat().st_size
    before, after = load_generator(file), load_generator(packed)
    assert torch.equal(after.mask_shapes, shapes)
    assert found.tensors["weighter.seen"][0] == 70_001
    assert {p.dtype for p in after.denoiser.parameters()} == {torch.float32}
    given = (torch.randn(2, 3, 32, 32), torch.tensor([200, 800]), torch.ones(2, 1, 32, 32))
    with torch.no_grad():
        apart = (before.denoiser(*given).x0 - after.denoiser(*given).x0).abs().max()
    # Weights of float16 are off by 1/2048 at the most.
    assert 0 < float(apart) < 0.01


def test_a_file_stands_before_a_name_and_what_is_neither_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert generator_file("polyp128") == BUNDLED / "polyp128.safetensors"
    Path("polyp128").write_bytes(np.zeros(1).tobytes())
    assert generator_file("polyp128") == Path("polyp128")
    with pytest.raises(BadCheckpoint, match=r"nowhere\.safetensors: no such file.*carries: polyp128"):
        generator_file("nowhere.safetensors")
