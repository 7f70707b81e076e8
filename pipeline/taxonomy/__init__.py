"""Who an animal is: questions to taxonomic authorities, what their answers say, and the entry that follows.

Everything here is pure: `ask` (a Request to an Answer) is handed in by the stage file.
"""
