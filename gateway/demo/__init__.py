"""The demo: real daily prices replayed fast, and six strategies that trade on them through the HTTP API alone."""
