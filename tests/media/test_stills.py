"""Photographs of kinds that FFmpeg reads wrongly: HEIC in tiles, AVIF and TIFF."""

import media_files as make
import numpy as np
import pytest
from heic_files import make_heic
from PIL import Image, TiffImagePlugin

from emotion.errors import MediaError
from emotion.inference.output_plan import OutputRequest, plan_clip
from emotion.media.reading import iterate_media, probe_media
from emotion.media.streams import Damage

WIDTH, HEIGHT = 160, 96
EXIF_ORIENTATION = 0x0112


def _picture() -> np.ndarray:
    return make.make_picture(0.5, WIDTH, HEIGHT)


def _read(path) -> np.ndarray:
    (frame,) = iterate_media(path, sample_rate=16_000)
    info = probe_media(path)
    assert info.is_still
    assert (info.width, info.height) == (frame.width, frame.height)
    return frame.image


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    return exif


def _is_like(image: np.ndarray, other: np.ndarray) -> bool:
    return image.shape == other.shape and float(np.abs(image.astype(int) - other).mean()) < 6


@pytest.mark.parametrize("quarters", range(4))
def test_heic_in_tiles_is_put_together_and_turned(tmp_path, quarters):
    path = make_heic(tmp_path / "phone.heic", _picture(), quarters=quarters)
    assert _is_like(_read(path), np.rot90(_picture(), quarters))


@pytest.mark.parametrize("name", ["photo.heic", "photo.jpg", "photo.mp4", "photo"])
def test_heic_is_known_by_its_content(tmp_path, name):
    assert _is_like(_read(make_heic(tmp_path / name, _picture())), _picture())


@pytest.mark.parametrize("suffix", [".avif", ".tif"])
@pytest.mark.parametrize(("orientation", "turned"), [(1, 0), (3, 2), (6, 1), (8, 3)])
def test_avif_and_tiff_stand_upright(tmp_path, suffix, orientation, turned):
    path = tmp_path / f"photo{suffix}"
    Image.fromarray(np.rot90(_picture(), turned)).save(path, exif=_exif(orientation))
    assert _is_like(_read(path), _picture())


@pytest.mark.parametrize("suffix", [".avif", ".tif"])
def test_what_is_transparent_is_white(tmp_path, suffix):
    image = Image.fromarray(_picture())
    image.putalpha(Image.fromarray(np.full((HEIGHT, WIDTH), 255, np.uint8)))
    image.paste((0, 0, 0, 0), (0, 48, WIDTH, HEIGHT))
    image.save(tmp_path / f"photo{suffix}")
    read = _read(tmp_path / f"photo{suffix}")
    assert _is_like(read[:44], _picture()[:44])
    assert read[52:].min() > 245


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "YCbCr"])
def test_jpeg_in_tiff_is_read(tmp_path, mode):
    Image.fromarray(_picture()).convert(mode).save(tmp_path / "scan.tif", compression="jpeg", quality=95)
    read = _read(tmp_path / "scan.tif")
    expected = np.array(Image.fromarray(_picture()).convert("L").convert("RGB")) if mode == "L" else _picture()
    assert _is_like(read, expected)


def test_grey_of_sixteen_bits_is_scaled(tmp_path):
    grey = np.asarray(Image.fromarray(_picture()).convert("L"))
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "scan.tif")
    assert _is_like(_read(tmp_path / "scan.tif"), np.repeat(grey[..., None], 3, axis=2))


def test_an_avif_that_moves_is_a_video(tmp_path):
    frames = [Image.fromarray(make.make_picture(time, WIDTH, HEIGHT)) for time in (0.0, 0.2, 0.4)]
    frames[0].save(tmp_path / "moving.avif", save_all=True, append_images=frames[1:], duration=200)
    assert not probe_media(tmp_path / "moving.avif").is_still


def test_a_photograph_that_cannot_be_decoded_is_one_clear_error(tmp_path):
    Image.fromarray(_picture()).save(tmp_path / "cut.avif")
    (tmp_path / "cut.avif").write_bytes((tmp_path / "cut.avif").read_bytes()[:-200])
    with pytest.raises(MediaError, match=r"cut\.avif: this HEIC or AVIF picture cannot be decoded"):
        probe_media(tmp_path / "cut.avif")


def test_a_photograph_of_which_tiles_are_missing_is_called_damaged(tmp_path):
    path = make_heic(tmp_path / "cut.heic", _picture())
    path.write_bytes(path.read_bytes()[:-200])
    damage = Damage(path, is_silent=True)
    (frame,) = iterate_media(path, sample_rate=16_000, damage=damage)
    assert damage.words == " (the file is cut off)"
    assert _is_like(frame.image[:64], _picture()[:64])


def test_an_annotated_photograph_may_be_a_jpeg(tmp_path):
    path = make_heic(tmp_path / "phone.heic", _picture())
    _, plan = plan_clip(path, OutputRequest(output=tmp_path / "out.jpg"))
    assert plan.picture == tmp_path / "out.jpg"


def test_a_raw_photo_is_not_judged_by_its_preview(tmp_path):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[254] = 1  # the first picture of most raw formats is a preview
    Image.fromarray(_picture()).save(tmp_path / "raw.nef", format="TIFF", tiffinfo=tags)
    with pytest.raises(MediaError, match="raw photo"):
        probe_media(tmp_path / "raw.nef")


def test_a_picture_too_large_to_hold_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr("emotion.media.stills.MAX_PIXELS", WIDTH * HEIGHT - 1)
    Image.fromarray(_picture()).save(tmp_path / "large.tif")
    with pytest.raises(MediaError, match="Make it smaller"):
        probe_media(tmp_path / "large.tif")
    assert Image.MAX_IMAGE_PIXELS != WIDTH * HEIGHT - 1
