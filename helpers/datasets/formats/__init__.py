"""One module for each labeling tool: `read` what it writes, `write` what it reads."""
