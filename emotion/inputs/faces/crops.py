"""Cuts square face crops in which every face is upright, at one place and one size.

A crop maps five landmarks onto fixed points by the similarity transform (rotation, uniform scale, shift) of least
squared error: S. Umeyama, "Least-squares estimation of transformation parameters between two point patterns", 1991.
A similarity keeps the shape of mouth and brows, which shows the emotion.

Networks trained on a detector's boxes, squeezed into squares, get the same crop stretched to look like those: upright,
and as wide as the face.
"""

import cv2
import numpy as np

# The landmarks' places in a crop, in shares of its side: YuNet's medians on FER2013's images, made symmetric. So crops
# frame faces like the images from which the shipped models learned.
TEMPLATE = np.array([[0.31, 0.385], [0.69, 0.385], [0.50, 0.595], [0.342, 0.765], [0.658, 0.765]], dtype=np.float64)

# Factor and shift, across and down, that take each crop's landmarks to their place: those of a box are medians of
# YuNet's in its own boxes, over 8,000 faces (eyes at 0.260, 0.3665 and 0.728, 0.3665).
STRETCHES = {"face": ((1.0, 1.0), (0.0, 0.0)), "box": ((1.232, 0.943), (-0.12192, 0.003445))}

TO_COMPLEX = np.array([1, 1j])
COMPLEX_TEMPLATE = TEMPLATE @ TO_COMPLEX

MAX_WARPED_PIXELS = 32_766  # the longest side that OpenCV can warp


def compute_crop_transform(landmarks: np.ndarray, size: int, kind: str = "face") -> np.ndarray:
    """Returns the ``(2, 3)`` matrix from picture to crop coordinates, for ``Face.landmarks`` and a crop's side.

    Args:
        kind: a key of ``STRETCHES``.
    """
    # In the plane a similarity multiplies by one complex number, so least squares has a closed form.
    source = np.asarray(landmarks, dtype=np.float64) @ TO_COMPLEX
    target = size * COMPLEX_TEMPLATE
    source_centre, target_centre = source.sum() / len(source), target.sum() / len(target)
    source, target = source - source_centre, target - target_centre
    factor = np.vdot(source, target) / max(np.vdot(source, source).real, 1e-9)
    shift = target_centre - factor * source_centre
    matrix = np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])
    stretch, offset = (np.array(values) for values in STRETCHES[kind])
    matrix *= stretch[:, None]
    matrix[:, 2] += size * offset
    return matrix


def crop_face(image: np.ndarray, landmarks: np.ndarray, size: int, kind: str = "face") -> np.ndarray:
    """Cuts out a face aligned by its landmarks; outside the picture the edge repeats.

    Args:
        image: RGB or grey, ``(height, width[, 3])`` uint8.
        landmarks: ``(5, 2)`` as in ``Face.landmarks``.
        size: side of the crop in pixels.
        kind: ``face``, or ``box`` for one stretched as a detector's box would be.

    Returns:
        ``(size, size[, 3])`` uint8.
    """
    matrix = compute_crop_transform(landmarks, size, kind)
    scale = float(np.sqrt(np.linalg.det(matrix[:, :2])))  # of a stretched crop the mean of both directions
    if scale < 0.75:
        # A warp samples single pixels, which would leave a shrunken face jagged and noisy. So average first.
        image, matrix = _shrink(image, matrix, scale, size)
    image, matrix = cut_to_limit(image, matrix, size)
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def crop_frame(image: np.ndarray, size: int) -> np.ndarray:
    """Scales a whole frame to ``(size, size, 3)`` whatever its aspect, for models without faces."""
    if image.shape[0] >= size and image.shape[1] >= size:
        return shrink(image, (size, size))
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)


def shrink(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scales a picture down to (width, height); each pixel is the mean of those that it replaces.

    OpenCV halves by far the fastest, so sizes are halved first, as long as they are even.
    """
    while all(side % 2 == 0 and side >= 2 * wanted for side, wanted in zip(image.shape[1::-1], size, strict=True)):
        image = cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return image if image.shape[1::-1] == size else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def cut_to_limit(image: np.ndarray, matrix: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Cuts a picture too large for OpenCV's warp down to the part around a crop of ``size`` pixels."""
    if max(image.shape[:2]) < MAX_WARPED_PIXELS:
        return image, matrix
    inverse = cv2.invertAffineTransform(matrix)
    middle = inverse[:, :2] @ np.array([size / 2, size / 2]) + inverse[:, 2]
    left, top = (int(np.clip(x - MAX_WARPED_PIXELS / 4, 0, max(0, side - MAX_WARPED_PIXELS // 2)))
                 for x, side in zip(middle, image.shape[1::-1], strict=True))  # fmt: skip
    part = image[top : top + MAX_WARPED_PIXELS // 2, left : left + MAX_WARPED_PIXELS // 2]
    return part, np.hstack([matrix[:, :2], (matrix[:, 2] + matrix[:, :2] @ np.array([left, top]))[:, None]])


def _shrink(image: np.ndarray, matrix: np.ndarray, scale: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    height, width = image.shape[:2]
    inverse = cv2.invertAffineTransform(matrix)
    corners = (
        np.array([[0, 0], [size, 0], [size, size], [0, size]], dtype=np.float64) @ inverse[:, :2].T + inverse[:, 2]
    )
    margin = 2 / scale
    left, top = np.floor(corners.min(axis=0) - margin).astype(int).tolist()
    right, bottom = np.ceil(corners.max(axis=0) + margin).astype(int).tolist()
    left, right = (min(max(x, 0), width) for x in (left, right))
    top, bottom = (min(max(y, 0), height) for y in (top, bottom))
    # Cutting off a few rows and columns makes the sides even. That is less than the margin or, at the picture's edge,
    # where there is none, less than a pixel of the crop.
    evenly = 2 ** int(max(0, np.floor(-np.log2(scale))))
    if right - left > evenly and bottom - top > evenly:
        right, bottom = right - (right - left) % evenly, bottom - (bottom - top) % evenly
    if right - left < 2 or bottom - top < 2:
        return image, matrix
    small_size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    small = shrink(image[top:bottom, left:right], small_size)
    # Both functions put whole coordinates on pixel centres, not corners: hence the halves.
    step_x, step_y = (right - left) / small_size[0], (bottom - top) / small_size[1]
    from_small = np.array([[step_x, 0, left + step_x / 2 - 0.5], [0, step_y, top + step_y / 2 - 0.5], [0, 0, 1]])
    return small, matrix @ from_small
