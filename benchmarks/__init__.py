"""What the project's speed is compared with, and how it grows: `make bench`; not part of the wheel."""
