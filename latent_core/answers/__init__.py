"""How an answer is read and judged: parsing, extractors and graders."""
