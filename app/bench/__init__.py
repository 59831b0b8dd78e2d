"""The default way held against the published protocol: time, products, memory and constants."""
