"""The `nkilab` command: one file per group of commands, and one place that turns results and errors into output."""

from nkilab.command.app import main

__all__ = ["main"]
