"""Folders of data sets whose files are empty, or tables: adapters read names alone."""


def make_tree(root, *names, **contents):
    """Writes empty files of these names below a folder, or files by name and text, and returns the folder."""
    for name, text in {**dict.fromkeys(names, ""), **contents}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root
