"""Downloads data sets from their owners."""
