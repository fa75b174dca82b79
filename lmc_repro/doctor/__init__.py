"""What `lmc doctor` looks at: is all installed, where are the data, what does the store hold, what was left behind."""
