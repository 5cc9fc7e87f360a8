"""The one place that names nkilab's version."""

VERSION = "0.1.0"
