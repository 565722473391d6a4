"""The web page on which a clip is uploaded, judged and watched."""
