"""Broken files of every kind that is read: one UserError of one line, and nothing else on the terminal."""

import io
import json
import pathlib
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save

from dmlcsr_jax import checkpoints
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.datasets.images import decode_gray, decode_image, decode_label
from dmlcsr_jax.datasets.label_colors import ColorTable
from dmlcsr_jax.datasets.label_files import read_label_map
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.models.weight_files import read_state_dict
from dmlcsr_jax.recipes import read_config

MUTATIONS = 40  # of each file
_TABLE = ColorTable(classes={(0, 0, 0): 0, (255, 255, 255): 1}, file="label_colors.txt")


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def image_files() -> dict[str, bytes]:
    image = Image.fromarray(draw_face(0, 48)[0])
    exif = Image.Exif()
    exif[0x112] = 6
    files = {
        "jpg": encoded(image, "JPEG", exif=exif),
        "progressive jpg": encoded(image, "JPEG", progressive=True),
        "png": encoded(image, "PNG", exif=exif),
        "palette png": encoded(image.quantize(16), "PNG", transparency=0),
        "16-bit png": encoded(Image.fromarray(np.asarray(image)[..., 0].astype(np.uint16) * 16), "PNG"),
        "webp": encoded(image, "WEBP"),
        "lossless webp": encoded(image.convert("RGBA"), "WEBP", lossless=True, exif=exif),
        "bmp": encoded(image, "BMP"),
        "gif": encoded(image, "GIF", save_all=True, append_images=[image.rotate(180)]),
        "jp2": encoded(image, "JPEG2000"),
        "ppm": encoded(image, "PPM"),
        "integer tiff": encoded(Image.fromarray(np.asarray(image)[..., 0].astype(np.int32)), "TIFF"),
    }
    for compression in ("raw", "tiff_lzw", "tiff_deflate", "jpeg", "packbits"):
        files[f"{compression} tiff"] = encoded(image, "TIFF", compression=compression, exif=exif)
    if "AVIF" in Image.SAVE:
        files["avif"] = encoded(image, "AVIF")
    return files


def label_files() -> dict[str, bytes]:
    labels = Image.fromarray(draw_face(0, 48)[1])
    palette = labels.copy()
    palette.putpalette(list(range(57)))
    return {
        "gray": encoded(labels, "PNG"),
        "palette": encoded(palette, "PNG"),
        "colors": encoded(labels.convert("RGB"), "PNG"),
        "tiff": encoded(labels, "TIFF", compression="tiff_lzw"),
        "gif": encoded(labels, "GIF"),
    }


def mutations(data: bytes, name: str, count: int = MUTATIONS) -> Iterator[bytes]:
    """Copies of a file that are cut, or have changed, missing or repeated bytes, mostly at its beginning."""
    rng = np.random.default_rng(list(name.encode()))
    yield b""
    for _ in range(count):
        broken = bytearray(data)
        within = min(len(broken), 300) if rng.random() < 0.5 else len(broken)
        start = int(rng.integers(within))
        match rng.integers(4):
            case 0:
                del broken[start:]
            case 1:
                for place in rng.integers(within, size=rng.integers(1, 9)):
                    broken[place] = rng.choice([0, 255, rng.integers(256)])
            case 2:
                del broken[start : start + int(rng.integers(1, 40))]
            case _:
                broken[start:start] = broken[start // 2 : start // 2 + 40]
        yield bytes(broken)


def check(read, broken: bytes) -> None:
    """Reads a broken file, which may be whole enough."""
    try:
        read(broken)
    except UserError as error:
        assert str(error) and "\n" not in str(error)


@pytest.mark.parametrize(("name", "data"), image_files().items())
def test_images(name, data, capfd, recwarn):
    for broken in mutations(data, name):
        check(lambda data: decode_image(data, "photo", max_pixels=2**20), broken)
    check(lambda data: decode_gray(data, "part"), data[: len(data) // 2])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("name", "data"), label_files().items())
def test_label_maps(name, data, capfd):
    for broken in mutations(data, name):
        check(lambda data: decode_label(data, "map"), broken)
        check(lambda data: read_label_map(data, "map", num_classes=19), broken)
        check(lambda data: read_label_map(data, "map", num_classes=19, table=_TABLE), broken)
    assert capfd.readouterr() == ("", "")


def weight_files() -> dict[str, bytes]:
    arrays = {"conv.weight": np.ones((2, 3, 4), np.float32), "bn.bias": np.zeros(3, np.float32)}
    npz = io.BytesIO()
    np.savez(npz, **arrays)
    return {".npz": npz.getvalue(), ".safetensors": save(arrays)}


@pytest.mark.parametrize(("suffix", "data"), weight_files().items())
def test_weights(suffix, data, tmp_path, capfd):
    path = tmp_path / f"weights{suffix}"
    for broken in mutations(data, suffix):
        check(lambda data: (path.write_bytes(data), dict(read_state_dict(path))), broken)
    assert capfd.readouterr() == ("", "")


def test_torch_weights(tmp_path, capfd):
    torch = pytest.importorskip("torch")
    file = io.BytesIO()
    torch.save({"conv.weight": torch.ones(2, 3, 4)}, file)
    path = tmp_path / "weights.pth"
    for broken in mutations(file.getvalue(), ".pth"):
        check(lambda data: (path.write_bytes(data), dict(read_state_dict(path))), broken)
    assert capfd.readouterr() == ("", "")


def json_mutations(text: str) -> Iterator[bytes]:
    """Broken text, and whole JSON of other types."""
    yield from mutations(text.encode(), "json", 20)
    values = json.loads(text)
    for other in (None, 3, [], {}):
        yield json.dumps(other).encode()
        for name in values:
            yield json.dumps(values | {name: other}).encode()
        for section, name in [(s, n) for s in values if isinstance(values[s], dict) for n in values[s]]:
            yield json.dumps(values | {section: values[section] | {name: other}}).encode()


def test_config_json(tmp_path, capfd):
    config = read_config("default", None)
    assert config is not None
    path = tmp_path / "config.json"
    for broken in json_mutations(json.dumps({name: config.to_dict()[name] for name in ("seed", "dataset", "model")})):
        check(lambda data: (path.write_bytes(data), read_config(None, str(tmp_path))), broken)
    assert capfd.readouterr() == ("", "")


def test_metadata_of_exported_weights(tmp_path, capfd):
    whole = checkpoints.find_checkpoint("portrait")
    text = (whole / "model.json").read_text()
    pathlib.Path(tmp_path, "model.safetensors").symlink_to(whole / "model.safetensors")
    for broken in json_mutations(text):
        check(lambda data: ((tmp_path / "model.json").write_bytes(data), checkpoints.load_metadata(tmp_path)), broken)
        check(lambda _: checkpoints.read_card(tmp_path), broken)
    assert capfd.readouterr() == ("", "")
