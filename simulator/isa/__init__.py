"""The instructions of `nki.isa`, by the engine that runs them."""
