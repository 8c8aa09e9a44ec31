"""Images of any size: predicted in tiles that overlap, read and written by strips. Notebook 10."""
