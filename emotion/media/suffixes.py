"""File extensions of media, in lower case, for every command; ``emotion.media.kinds`` looks into files without one.

Of a recording's sound files the first kind in this order is the best.
"""

import os
from pathlib import Path

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mp4v", ".mov", ".qt", ".f4v", ".ismv", ".insv", ".lrv", ".avi", ".divx", ".mkv", ".mk3d", ".webm",
    ".flv", ".wmv", ".asf", ".mpg", ".mpeg", ".mpe", ".mpv", ".m1v", ".m2v", ".mod", ".tod", ".vob", ".vro", ".ts",
    ".mts", ".m2ts", ".m2t", ".trp", ".3gp", ".3g2", ".3gpp", ".ogv", ".ogm", ".ogx", ".mxf", ".gxf", ".dv", ".dif",
    ".dav", ".rm", ".rmvb", ".wtv", ".nut", ".ivf", ".obu", ".y4m", ".h264", ".264", ".avc", ".h265", ".265", ".hevc",
    ".vc1", ".mjpeg", ".mjpg", ".amv", ".xvid", ".smk", ".bik", ".roq", ".nsv",
)  # fmt: skip
SOUND_SUFFIXES = (
    ".wav", ".flac", ".w64", ".rf64", ".bwf", ".aif", ".aiff", ".aifc", ".caf", ".au", ".snd", ".wv", ".ape", ".tta",
    ".tak", ".dsf", ".voc", ".sph", ".nist", ".mp3", ".m4a", ".m4b", ".m4r", ".ogg", ".oga", ".opus", ".aac", ".adts",
    ".mka", ".weba", ".wma", ".mp2", ".mpa", ".mpga", ".ac3", ".eac3", ".ec3", ".dts", ".mpc", ".spx", ".ra", ".oma",
    ".aa3", ".amr", ".awb", ".3ga", ".qcp", ".gsm", ".g722", ".sbc", ".qoa", ".dss",
)  # fmt: skip
STILL_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif", ".heic",
    ".heif", ".hif", ".avif", ".jxl", ".jp2", ".j2k", ".mpo", ".insp", ".pnm", ".ppm", ".pgm", ".pam", ".tga", ".qoi",
)  # fmt: skip
MEDIA_SUFFIXES = VIDEO_SUFFIXES + SOUND_SUFFIXES + STILL_SUFFIXES
# What downloads are called until they are whole; their beginning may look like media.
UNFINISHED_SUFFIXES = (".part", ".partial", ".crdownload", ".download", ".opdownload", ".tmp", ".aria2", ".!ut")

_KINDS = {
    **dict.fromkeys(VIDEO_SUFFIXES, "video"),
    **dict.fromkeys(STILL_SUFFIXES, "image"),
    **dict.fromkeys(SOUND_SUFFIXES, "audio"),
}


def kind_by_name(name: str | os.PathLike) -> str | None:
    """Returns ``video``, ``image`` or ``audio`` by a name's extension, or None for any other."""
    return _KINDS.get(Path(name).suffix.lower())


def sound_rank(path: Path) -> int:
    """Sorts sound files of one recording, the best first: lossless before compressed."""
    suffix = path.suffix.lower()
    return SOUND_SUFFIXES.index(suffix) if suffix in SOUND_SUFFIXES else len(SOUND_SUFFIXES)
