"""Runs, studies, profiles and exhibits as pydantic models; a typing error is a message, never a surprise later."""
