"""Writers of results: pictures with faces marked, tables, and plots. They take results and know no model."""
