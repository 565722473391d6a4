"""Classical baselines under the same protocols as the models of ``emotion``."""
