"""Finding faces, following them through time, and cutting them out."""
