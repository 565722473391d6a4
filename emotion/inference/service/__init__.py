"""The service: clips and streams over HTTP, the results as the commands write them."""
