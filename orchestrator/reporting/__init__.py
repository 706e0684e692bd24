"""Reports: the files, tables and pictures that a person sees."""
