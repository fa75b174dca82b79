"""From results to tables, figures and pages for people; nothing here computes a barrier."""
