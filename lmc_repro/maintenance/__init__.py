"""Maintenance: `lmc doctor` examines an installation and its project, `lmc gc` removes unneeded working files."""
