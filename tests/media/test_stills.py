"""Photographs of kinds that FFmpeg reads wrongly: HEIC in tiles, AVIF and TIFF."""

import av
import media_files as make
import numpy as np
import pytest
from heic_files import make_heic, make_heic_of_several
from PIL import Image, TiffImagePlugin

from emotion.errors import MediaError
from emotion.inference.output_plan import OutputRequest, plan_clip
from emotion.media import stills
from emotion.media.reading import iterate_media, probe_media
from emotion.media.streams import Damage
from emotion.media.tracks import TrackChoice

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


@pytest.mark.parametrize("suffix", [".heic", ".avif", ".tif", ".jpg", ".png", ".webp", ".bmp", ".gif"])
def test_a_still_is_decoded_once_to_be_read_and_never_to_look_at_it(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"photo{suffix}"
    if suffix == ".heic":
        make_heic(path, _picture())
    else:
        Image.fromarray(_picture()).save(path)
    decoded, decode = [], stills._decode
    monkeypatch.setattr(stills, "_decode", lambda image: decoded.append(image) or decode(image))
    monkeypatch.setattr(av, "open", lambda *args, **options: pytest.fail("FFmpeg decodes it as well"))
    assert probe_media(path).is_still and not decoded
    assert len(list(iterate_media(path, sample_rate=16_000))) == len(decoded) == 1


@pytest.mark.parametrize("suffix", [".heic", ".tif"])
def test_one_of_several_photographs_in_a_file_can_be_chosen(tmp_path, suffix):
    path, levels = tmp_path / f"burst{suffix}", (40, 120, 200)
    images = [np.full((64, 64, 3), level, np.uint8) for level in levels]
    if suffix == ".heic":
        make_heic_of_several(path, images)
    else:
        first, *others = map(Image.fromarray, images)
        first.save(path, save_all=True, append_images=others)
    assert "one of the 3 pictures in it was judged; --video_track N chooses another" in probe_media(path).notes
    for number, level in enumerate(levels, start=1):
        choice = TrackChoice(video=number)
        assert probe_media(path, choice).notes == () and probe_media(path, choice).choice == choice
        (frame,) = iterate_media(path, sample_rate=16_000, choice=choice)
        assert abs(int(frame.image[32, 32, 0]) - level) < 8
    for choice, words in ((TrackChoice(video=4), "no video track 4; it holds 3"), (TrackChoice(audio=1), "no sound")):
        with pytest.raises(MediaError, match=words):
            probe_media(path, choice)


def test_a_picture_of_which_ffmpeg_reads_a_part_is_given_in_part(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "cut.jpg", exif=_exif(6), quality=95, subsampling=0)
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:-5000])
    damage = Damage("cut.jpg", is_silent=True)
    (frame,) = iterate_media(tmp_path / "cut.jpg", sample_rate=16_000, damage=damage)
    assert "truncated" in damage.words
    assert np.abs(frame.image[:, 60:].astype(int) - np.rot90(noise, -1)[:, 60:]).mean() < 25  # the top, turned
