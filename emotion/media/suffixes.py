"""File extensions of media, in lower case. Of a recording's sound files the first kind in this order is the best."""

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".flv", ".wmv", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".3gp",
    ".ogv", ".vob", ".mxf",
)  # fmt: skip
SOUND_SUFFIXES = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".aac", ".oga", ".wma", ".aif", ".aiff", ".amr")
STILL_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".heic", ".heif", ".hif", ".avif")
MEDIA_SUFFIXES = VIDEO_SUFFIXES + SOUND_SUFFIXES + STILL_SUFFIXES
