"""The server that an operator describes: specs, parameters, prices, limits, and what configuration files say."""
