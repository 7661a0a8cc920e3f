"""Contest: methods of all papers on the same systems, each training with the same budget. Ours; no paper prints it."""

TITLE = "Methods of all papers at equal budgets"
AUTHORS = "An artefact of our own: no paper prints it"
WHERE = ""
