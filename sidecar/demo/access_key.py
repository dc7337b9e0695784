"""The access key that the demo hub takes. It opens nothing but the demo hub, so it may be known."""

ACCESS_KEY = "blocklet-demoHubKeyThatOpensNothingElse"
