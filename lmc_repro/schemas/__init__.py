"""What a run, a study and a profile are, as pydantic models; a typing error is a message, never a surprise later."""
