"""Views of a profile: the timeline, the HTML report, the notebook widget and the Perfetto export. None recomputes."""
