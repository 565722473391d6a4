"""From labelled clips to a model folder."""
