"""The browser demo's server: one artifact, its contract and the page that runs it."""
