"""What people read: tables, documents, pages and drawings, made of the files that evaluations wrote.

Nothing is scored, trained or predicted here, and nothing below imports this package.
"""
