"""From a clip, a folder or a camera to results."""
